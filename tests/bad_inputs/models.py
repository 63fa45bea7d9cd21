"""Small models and arrays to spoil."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, parser

CHANNELS, SIZE, CLASSES, BLOCKS = 8, 6, 3, 5
WEIGHT = "blocks.2.conv.weight"
"""An initialiser large enough to be kept outside the file."""


@cache
def residual_bytes(batch: int | str = "N") -> bytes:
    """A stem, five equal residual blocks of one convolution, and a linear classifier."""
    random = np.random.default_rng(0)
    nodes, weights = [], []

    def weight(name: str, *dims: int) -> str:
        weights.append(numpy_helper.from_array(random.normal(0, 0.2, dims).astype(np.float32), name))
        return name

    def conv(name: str, source: str, result: str) -> None:
        names = weight(f"{name}.weight", CHANNELS, CHANNELS, 3, 3), weight(f"{name}.bias", CHANNELS)
        nodes.append(helper.make_node("Conv", [source, *names], [result], name, pads=[1, 1, 1, 1]))

    conv("stem", "x", "t0")
    for i in range(BLOCKS):
        conv(f"blocks.{i}.conv", f"t{i}", f"c{i}")
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"], f"relu{i}"))
        nodes.append(helper.make_node("Add", [f"t{i}", f"r{i}"], [f"t{i + 1}"], f"add{i}"))
    nodes.append(helper.make_node("GlobalAveragePool", [f"t{BLOCKS}"], ["pooled"], "pool"))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["features"], "flat"))
    nodes.append(helper.make_node("Gemm", ["features", weight("head", CHANNELS, CLASSES)], ["scores"], "gemm"))
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [batch, CHANNELS, SIZE, SIZE])
    scores = helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, [batch, CLASSES])
    graph = helper.make_graph(nodes, "residual", [x], [scores], weights)
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def residual(batch: int | str = "N") -> onnx.ModelProto:
    """A fresh copy of the residual network, to be changed."""
    model: onnx.ModelProto = onnx.ModelProto.FromString(residual_bytes(batch))
    return model


def text(graph: str, head: str = 'ir_version: 8, opset_import: ["" : 17]') -> Callable[[Path], object]:
    """Put a model written in ONNX's text syntax at ``model.onnx``."""
    return lambda folder: save(parser.parse_model(f"<{head}> {graph}"), folder)


def edited(edit: Callable[[onnx.ModelProto], object], batch: int | str = "N") -> Callable[[Path], object]:
    """Put the residual network, changed by ``edit``, at ``model.onnx``."""

    def arrange(folder: Path) -> None:
        model = residual(batch)
        edit(model)
        save(model, folder)

    return arrange


def save(model: onnx.ModelProto, folder: Path, name: str = "model.onnx") -> None:
    (folder / name).write_bytes(model.SerializeToString())


def external(location: str, **entries: str) -> Callable[[Path], object]:
    """Keep one weight of the residual network at ``location``; ``entries`` override offset and length.

    The bytes lie in ``weights.bin`` beside the model, and once more outside the folder.
    """

    def arrange(folder: Path) -> None:
        model = residual()
        tensor = initialiser(model, WEIGHT)
        for place in (folder, folder.parent):
            (place / "weights.bin").write_bytes(tensor.raw_data)
        (folder / "link.bin").symlink_to(folder.parent / "weights.bin")
        values = {"location": location, "offset": "0", "length": str(len(tensor.raw_data))} | entries
        point_outside(tensor, values)
        save(model, folder)

    return arrange


def point_outside(tensor: onnx.TensorProto, entries: dict[str, str]) -> None:
    """Turn a tensor into a reference to a file."""
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)


def initialiser(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    found: onnx.TensorProto = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    return found


def node(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    found: onnx.NodeProto = next(node for node in model.graph.node if node.name == name)
    return found


def samples(count: int = 16) -> np.ndarray:
    """Inputs of the residual network."""
    return np.random.default_rng(1).normal(size=(count, CHANNELS, SIZE, SIZE)).astype(np.float32)


def arrays(name: str = "bad.npz", **content: Any) -> Callable[[Path], object]:
    """Write an ``.npz`` with these arrays; without any, a valid input ``x``."""
    return lambda folder: np.savez(folder / name, **(content or {"x": samples()}))
