import onnx
import onnxsim
from users import cnn, exported

exported(cnn(), "cnn.onnx")
model = onnx.load("cnn.onnx")
onnx.save(onnxsim.apply_structured_pruning(model, sparsity=0.95), "small.onnx")
