"""The nine ``light_*`` networks that the onnx wheel carries: real architectures of 2015-2018, without their weights.

They are brought to opset 13 and given random weights of a size that keeps the signal alive.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.version_converter
from onnx import numpy_helper

from tests.zoo.survey import Feed

_FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
_OPSET = 13


def light_models() -> list[str]:
    """Their names."""
    return sorted(path.stem.removeprefix("light_") for path in _FOLDER.glob("light_*.onnx"))


def light(name: str, seed: int = 0) -> tuple[onnx.ModelProto, Feed]:
    """The network with random weights, and one image for it."""
    random = np.random.default_rng(seed)
    proto = onnx.load(_FOLDER / f"light_{name}.onnx")
    if next(entry.version for entry in proto.opset_import if not entry.domain) < _OPSET:
        proto = onnx.version_converter.convert_version(proto, _OPSET)
    proto.ir_version = max(8, proto.ir_version)  # older ones demand every weight among the inputs
    _randomise(proto, random)
    weights = {tensor.name for tensor in proto.graph.initializer}
    feed = {
        value.name: random.standard_normal([dim.dim_value for dim in value.type.tensor_type.shape.dim]).astype(
            np.float32
        )
        for value in proto.graph.input
        if value.name not in weights
    }
    return proto, feed


def _randomise(proto: onnx.ModelProto, random: np.random.Generator) -> None:
    """Random initialisers in place of the constants that stand for the weights."""
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    scales = {
        node.input[index]
        for node in proto.graph.node
        for index in ((1, 4) if node.op_type == "BatchNormalization" else ())
    }
    kept = []
    for node in proto.graph.node:
        if node.op_type == "ConstantOfShape" and node.input[0] in shapes:
            dims = tuple(int(size) for size in shapes[node.input[0]])
            values = _weights(dims, random, is_scale=node.output[0] in scales)
            proto.graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
        else:
            kept.append(onnx.NodeProto.FromString(node.SerializeToString()))
    del proto.graph.node[:]
    proto.graph.node.extend(kept)
    for tensor in proto.graph.initializer:
        if tensor.name in shapes and tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims):
            values = _weights(tuple(tensor.dims), random, is_scale=tensor.name in scales)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _weights(dims: tuple[int, ...], random: np.random.Generator, *, is_scale: bool) -> np.ndarray:
    """Matrices and kernels between LeCun's and He's size, scales and variances about one, the rest about zero."""
    if is_scale:
        return random.uniform(0.4, 0.9, dims).astype(np.float32)  # below one: fifty additions must not explode
    spread = 0.1 if len(dims) == 1 else np.sqrt(1.4 / np.prod(dims[1:]))
    values: np.ndarray = random.standard_normal(dims, dtype=np.float32) * np.float32(spread)
    return values
