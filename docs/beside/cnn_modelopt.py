import modelopt.torch.prune as mtp
import torch
from users import accuracy, cnn, images, loader

model, result = mtp.prune(
    model=cnn(),
    mode="fastnas",
    constraints={"flops": "70%"},
    dummy_input=images[:1],
    config={"data_loader": loader, "score_func": accuracy, "checkpoint": "search.pth"},
)
axes = {"x": {0: "batch"}, "y": {0: "batch"}}
torch.onnx.export(model, (images[:1],), "small.onnx", input_names=["x"], output_names=["y"], dynamic_axes=axes)
