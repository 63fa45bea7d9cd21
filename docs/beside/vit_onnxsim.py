import onnx
import onnxsim
from users import exported, vit

exported(vit(), "vit.onnx")
model = onnxsim.apply_attention_head_pruning(onnx.load("vit.onnx"), sparsity=0.3)
onnx.save(onnxsim.apply_structured_pruning(model, sparsity=0.3), "small.onnx")
