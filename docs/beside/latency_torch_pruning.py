from time import perf_counter

import onnxruntime
import torch
import torch_pruning as tp
from users import cnn, images


def written(model):
    axes = {"x": {0: "batch"}, "y": {0: "batch"}}
    names = {"input_names": ["x"], "output_names": ["y"]}
    torch.onnx.export(model, (images[:1],), "small.onnx", **names, dynamic_axes=axes, dynamo=False)


def milliseconds():
    session = onnxruntime.InferenceSession("small.onnx", providers=["CPUExecutionProvider"])
    times = []
    for _ in range(100):
        start = perf_counter()
        session.run(None, {"x": images[:1].numpy()})
        times.append(perf_counter() - start)
    return 1000 * sorted(times)[50]


model = cnn()
written(model)
whole = milliseconds()
pruner = tp.pruner.BasePruner(
    model,
    images[:1],
    importance=tp.importance.GroupMagnitudeImportance(p=2),
    global_pruning=True,
    pruning_ratio=0.8,
    iterative_steps=40,
    ignored_layers=[model.fc],
    round_to=8,
)
for _ in range(40):
    pruner.step()
    written(model)
    if milliseconds() <= 0.8 * whole:
        break
