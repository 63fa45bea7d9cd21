"""Small models for the bridge's tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from graphprune.ir.loading import load
from graphprune.ir.model import Model


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal numbers."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def build(
    nodes: Sequence[onnx.NodeProto],
    feed: Mapping[str, np.ndarray],
    weights: Mapping[str, np.ndarray] | None = None,
    outputs: Sequence[str] = ("y",),
    opset: int = 18,
    free: Mapping[str, Sequence[int]] | None = None,
) -> Model:
    """A loaded model; ``free`` has the axes of each input that are not fixed."""
    inputs = []
    for name, array in feed.items():
        dims: list[Any] = [
            f"{name}_{axis}" if axis in (free or {}).get(name, ()) else size for axis, size in enumerate(array.shape)
        ]
        inputs.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), dims))
    bare = helper.make_graph(
        list(nodes),
        "bridge",
        inputs,
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(values, name) for name, values in (weights or {}).items()],
    )
    proto = helper.make_model(bare, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    del proto.graph.output[:]
    known = {value.name: value for value in inferred.graph.output}
    proto.graph.output.extend(_typed(known[name], inputs[0]) for name in outputs)
    return load(proto)


def _typed(value: onnx.ValueInfoProto, like: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    """What inference does not know is like the first input: it has no word for operators that are functions."""
    if value.type.tensor_type.HasField("shape"):
        return value
    typed = onnx.ValueInfoProto(name=value.name)
    typed.type.CopyFrom(like.type)
    return typed


def node(op: str, inputs: str, outputs: str = "y", **attributes: Any) -> onnx.NodeProto:
    """Inputs and outputs are separated by blanks; "_" is an absent one."""
    read, written = (["" if name == "_" else name for name in text.split()] for text in (inputs, outputs))
    return helper.make_node(op, read, written, **attributes)
