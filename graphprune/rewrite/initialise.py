"""A network with fresh weights: the same nodes, names, shapes and types, and nothing left of what was learnt.

Weights are drawn by He et al. (2015) where a rectifier follows, else by Glorot and Bengio (2010). Each has a stream of
random numbers of its own, from the seed and its name, so that a network that has lost layers starts with the same
numbers in those that are left.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from graphprune.analysis.dataflow import DataFlow
from graphprune.errors import ModelError
from graphprune.ir.bodies import bodies, with_bodies
from graphprune.ir.model import Model, constant_dims, read_values
from graphprune.ir.recurrent_states import RECURRENT
from graphprune.rewrite.weights import new_constant

SEED_KEY = "graphprune.init"
"""Where a file's metadata keep the seed of its first weights."""

_DENSE = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_NORMS = {
    "BatchNormalization": (1.0, 0.0, 0.0, 1.0),
    "InstanceNormalization": (1.0, 0.0),
    "LayerNormalization": (1.0, 0.0),
    "GroupNormalization": (1.0, 0.0),
    "RMSNormalization": (1.0,),
    "SimplifiedLayerNormalization": (1.0,),
}
"""What the operands behind the data are set to."""
_RECTIFIERS = {"Relu", "PRelu", "LeakyRelu", "Clip", "HardSwish", "Elu", "Celu", "Selu", "Gelu", "Mish", "Swish", "Erf"}
_PASS_ON = {"Add", "Sum", "Mean", "Mul", "Div", "Identity", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze"}
_PASS_ON |= {"Concat", "Split", "Slice", "Pad", "MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean"}
_TABLE_STD = 0.02  # of embeddings and positions, as transformers start with
_SLOPE = 0.25  # of PRelu
_MASK_LIMIT = -1e3  # values below are no weights, but what a softmax is to leave out


@dataclass(frozen=True)
class Initialised:
    """``model`` has the weights; ``counts`` says how many of each kind there are (``he``, ``xavier``, ``table``,
    ``scale``, ``zero``, ``slope``).
    """

    model: Model
    counts: dict[str, int]


@dataclass(frozen=True)
class Draw:
    """How a constant starts: ``figure`` is the deviation of ``he``, ``xavier`` and ``table``, else the value."""

    kind: str
    figure: float


def initialise(model: Model, seed: int) -> Initialised:
    """A copy of ``model`` with fresh weights; its metadata keep ``seed``.

    Norms start with scale 1, bias 0, mean 0 and variance 1, biases with 0, PRelu with 0.25, embeddings and tables of
    positions with a normal distribution of deviation 0.02. What is no weight stays: numbers of one element, masks, and
    what is added to or multiplied with the input before the first layer.

    Raises
    ------
    ModelError
        A constant is read in a way that does not tell what it is, or weights are quantised or computed.
    """
    fresh = model.copy()
    fresh.header = onnx.ModelProto.FromString(model.header.SerializeToString())
    draws: dict[str, Draw] = {}
    held: dict[str, gs.Constant] = {}
    for node in fresh.graph.nodes:
        for constant, draw in draws_of(model, node):
            if draws.setdefault(constant.name, draw).kind != draw.kind:
                raise ModelError(
                    f"'{constant.name}' is a {draws[constant.name].kind} and, at {node.name}, a {draw.kind}",
                    "give each layer its own weights before",
                )
            held[constant.name] = constant
    for name, constant in held.items():
        values = drawn(draws[name], name, constant_dims(constant), seed)
        constant._values = new_constant(name, values.astype(read_values(constant, model.folder).dtype))._values
    others = [entry for entry in model.header.metadata_props if entry.key != SEED_KEY]
    del fresh.header.metadata_props[:]
    fresh.header.metadata_props.extend(others)
    fresh.header.metadata_props.add(key=SEED_KEY, value=str(seed))
    return Initialised(fresh, dict(Counter(draw.kind for draw in draws.values())))


def seed_of(model: Model) -> int | None:
    """The seed that a model's first weights were drawn with, where :func:`initialise` drew them."""
    found = next((entry.value for entry in model.header.metadata_props if entry.key == SEED_KEY), "")
    return int(found) if found.isdecimal() else None


def draws_of(model: Model, node: gs.Node) -> Iterator[tuple[gs.Constant, Draw]]:
    """The constants that ``node`` reads as weights, and how they start.

    Raises
    ------
    ModelError
        It reads one in a way that does not tell what it is, or weights that are quantised or computed.
    """
    if bodies(node) and any(each.op in _DENSE or each.op in RECURRENT for each in with_bodies(node)):
        raise ModelError(f"{node.name} ({node.op}) holds layers of its own", "such networks cannot start afresh")
    for operand, tensor in enumerate(node.inputs):
        if isinstance(tensor, gs.Constant):
            draw = _draw(model, node, operand, tensor)
            if draw is not None:
                yield tensor, draw
        elif operand == 1 and node.op in ("Conv", "ConvTranspose"):
            raise ModelError(
                f"the weights of {node.name} are computed or quantised, so they cannot start afresh",
                "give the float model",
            )


def _draw(model: Model, node: gs.Node, operand: int, constant: gs.Constant) -> Draw | None:
    """None for what is no weight."""
    dims = constant_dims(constant)
    if node.op in _NORMS:
        start = _NORMS[node.op][operand - 1 : operand] if operand else ()
        return Draw("scale" if start[0] else "zero", start[0]) if start else None
    if node.op in ("SkipLayerNormalization", "SkipSimplifiedLayerNormalization") and operand >= 2:
        return Draw("scale", 1.0) if operand == 2 else Draw("zero", 0.0)
    if node.op in ("Conv", "ConvTranspose", "Gemm") and operand == 2:
        return Draw("zero", 0.0)
    if node.op in _DENSE:
        return _layer(model, node, *_fans(node, operand, dims)) if len(dims) > 1 else _unknown(node, constant)
    if node.op in RECURRENT and operand in (1, 2):
        return Draw("xavier", sqrt(2 / (dims[2] + node.attrs["hidden_size"])))
    if node.op in RECURRENT:
        return Draw("zero", 0.0)
    held: NDArray[Any] = read_values(constant, model.folder)
    if held.dtype.kind in "iub" or held.dtype == np.str_ or held.size < 2:
        return None
    if node.op == "PRelu" and operand == 1:
        return Draw("slope", _SLOPE)
    if node.op == "Gather" and operand == 0:
        return Draw("table", _TABLE_STD)
    if node.op in ("Add", "Mul"):
        return _elementwise(model, node, operand, held)
    if node.op in ("Sub", "Div", "Resize", "Upsample", "Where", "Max", "Min", "Clip", "Pow"):
        return None
    return _unknown(node, constant)


def _elementwise(model: Model, node: gs.Node, operand: int, values: NDArray[np.floating]) -> Draw | None:
    """A bias or scale is a vector behind a layer, positions are a table; anything before the first layer is none."""
    flow = model.derived(DataFlow)
    other = node.inputs[1 - operand].name
    is_behind = any(flow.nodes[name].op in (*_DENSE, *RECURRENT, "Gather") for name in flow.ancestors(other))
    if not is_behind or float(values.min()) <= _MASK_LIMIT:
        return None
    if sum(dim > 1 for dim in values.shape) > 1:
        return Draw("table", _TABLE_STD) if node.op == "Add" else None
    return Draw("zero", 0.0) if node.op == "Add" else Draw("scale", 1.0)


def _unknown(node: gs.Node, constant: gs.Constant) -> Draw:
    raise ModelError(
        f"{node.name} ({node.op}) reads '{constant.name}' {list(constant_dims(constant))}, and how that would start is "
        "not known",
        "such networks cannot start afresh",
    )


def _fans(node: gs.Node, operand: int, dims: tuple[int, ...]) -> tuple[int, int]:
    """How many numbers a number of the output is made of, and how many one of the input goes into."""
    if node.op == "Conv":
        return prod(dims[1:]), prod((dims[0], *dims[2:])) // int(node.attrs.get("group", 1))
    if node.op == "ConvTranspose":
        return prod((dims[0], *dims[2:])) // int(node.attrs.get("group", 1)), prod(dims[1:])
    is_swapped = bool(node.attrs.get(("transA", "transB")[operand], 0)) != (operand == 0)
    return (dims[-1], dims[-2]) if is_swapped else (dims[-2], dims[-1])


def _layer(model: Model, node: gs.Node, fan_in: int, fan_out: int) -> Draw:
    if _is_rectified(model, node):
        return Draw("he", sqrt(2 / fan_in))
    return Draw("xavier", sqrt(2 / (fan_in + fan_out)))


def _is_rectified(model: Model, node: gs.Node) -> bool:
    """Whether what ``node`` makes goes through a rectifier before it comes to another layer."""
    flow = model.derived(DataFlow)
    pending, seen = [node.outputs[0].name], set()
    while pending:
        tensor = pending.pop()
        readers = [flow.nodes[name] for name in flow.readers.get(tensor, ()) if name in flow.nodes]
        is_swish = {"Sigmoid", "Mul"} <= {reader.op for reader in readers}
        if is_swish or any(reader.op in _RECTIFIERS for reader in readers):
            return True
        for reader in readers:
            if (reader.op in _PASS_ON or reader.op in _NORMS) and reader.name not in seen:
                seen.add(reader.name)
                pending.append(reader.outputs[0].name)
    return False


def drawn(draw: Draw, name: str, dims: tuple[int, ...], seed: int) -> NDArray[np.floating]:
    """The first values, float32, of the constant ``name`` with these ``dims``."""
    generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
    if draw.kind == "he" or draw.kind == "table":
        return np.asarray(generator.standard_normal(dims, np.float32) * np.float32(draw.figure))
    if draw.kind == "xavier":
        limit = draw.figure * sqrt(3)
        return np.asarray(generator.uniform(-limit, limit, dims), np.float32)
    return np.full(dims, draw.figure, np.float32)
