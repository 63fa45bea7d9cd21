import torch
import torch_pruning as tp
from users import cnn, images

model, example = cnn(), images[:1]
whole, _ = tp.utils.count_ops_and_params(model, example)
pruner = tp.pruner.BasePruner(
    model,
    example,
    importance=tp.importance.GroupMagnitudeImportance(p=2),
    global_pruning=True,
    pruning_ratio=0.5,
    iterative_steps=20,
    ignored_layers=[model.fc],
    round_to=8,
)
for _ in range(20):
    pruner.step()
    if tp.utils.count_ops_and_params(model, example)[0] <= 0.7 * whole:
        break
axes = {"x": {0: "batch"}, "y": {0: "batch"}}
torch.onnx.export(
    model, (example,), "small.onnx", input_names=["x"], output_names=["y"], dynamic_axes=axes, dynamo=False
)
