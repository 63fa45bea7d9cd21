"""Concrete shapes for axis typing: every dynamic dimension gets a distinctive prime size,
and sizes are followed through the graph's own shape arithmetic.

Distinctive primes, so that a batch of 2 is never mistaken for 2 heads. No weight is read: each node's shape
comes from ONNX's own inference with the values of small integer tensors filled in.
Only where that leaves a tensor without a shape is the model run, see :mod:`graphprune.axes.measured`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from math import isqrt, prod

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx.reference import ReferenceEvaluator

from graphprune.axes.bodies import enter_bodies, leave_bodies
from graphprune.axes.fused import fused_shapes
from graphprune.axes.measured import ConcreteShape, measured_shapes
from graphprune.axes.shape_rules import counted, node_types
from graphprune.decoder.interface import decoder_interface
from graphprune.ir.bodies import bodies
from graphprune.ir.concrete_sizes import CONCRETE
from graphprune.ir.export import export_node
from graphprune.ir.folding import RANDOM
from graphprune.ir.model import Model, Shape, constant_dims
from graphprune.ir.node_reading import NodeReading
from graphprune.ir.quantised import ROUNDING
from graphprune.ir.shape_inference import LIKE_FIRST_INPUT, STANDARD_DOMAINS
from graphprune.ir.size_arithmetic import evaluate, picked_dims

log = logging.getLogger(__name__)

_LEAST_PRIMES = (101, 11)  # tables of positions may end before 101
_VALUE_LIMIT = 64  # elements; longer tensors are data, not sizes
_LEAST_COUNT = 1009  # above all sizes of inputs
_FUSED_DOMAIN = "com.microsoft"
_SIZES = (onnx.TensorProto.INT64, onnx.TensorProto.INT32)


@dataclass
class Probe:
    """Shape of every tensor for one choice of the dynamic sizes, and the values of those that only hold sizes."""

    shapes: dict[str, ConcreteShape] = field(default_factory=dict)
    values: dict[str, np.ndarray] = field(default_factory=dict)
    dtypes: dict[str, int] = field(default_factory=dict)

    def shape(self, tensor: gs.Tensor) -> ConcreteShape | None:
        if isinstance(tensor, gs.Constant):
            return constant_dims(tensor)
        return self.shapes.get(tensor.name)

    def value(self, tensor: gs.Tensor) -> np.ndarray | None:
        """What a small tensor holds, where that is known."""
        if not isinstance(tensor, gs.Constant):
            return self.values.get(tensor.name)
        if not _is_short(constant_dims(tensor)):
            return None
        values = tensor.values
        return values if isinstance(values, np.ndarray) and _is_small(values) else None


def probe(model: Model, sample: Mapping[str, ConcreteShape] | None = None) -> Probe:
    """Follow prime sizes through ``model``.

    Not every network takes every size: a table of positions ends, a U-Net halves its input four times.
    Where a node's shape cannot be inferred for large primes, small ones are tried,
    then the ``sample`` shapes of the inputs. What is missing then is measured, at the smaller sizes.
    """
    best = Probe()
    choices = [(choice, _sized(model, choice)) for choice in _choices(model, sample or {})]
    for choice, inputs in choices:
        found = follow(model, inputs, choice, counts=_primes(_LEAST_COUNT))
        if len(found.shapes) > len(best.shapes):
            best = found
        if not _missing(model, found):
            return best
    tried = choices[:1]
    for choice, inputs in choices[1:]:
        if inputs in [before for _, before in tried]:
            continue
        tried.append((choice, inputs))
        found = follow(model, inputs, choice, counts=_primes(_LEAST_COUNT))
        measured = measured_shapes(model, inputs, _missing(model, found))
        if measured:
            found = follow(model, inputs, choice, counts=_primes(_LEAST_COUNT), measured=measured)
        if len(found.shapes) > len(best.shapes):
            best = found
        if not _missing(model, found):
            break
    return best


def _sized(model: Model, choice: Mapping[str, int]) -> dict[str, ConcreteShape]:
    """Shapes of the model's inputs, a size for each symbol."""
    return {
        tensor.name: tuple(
            dim if isinstance(dim, int) else choice[symbol(tensor.name, axis, dim)]
            for axis, dim in enumerate(model.shapes.get(tensor.name, ()))
        )
        for tensor in model.graph.inputs
    }


def _missing(model: Model, found: Probe) -> list[str]:
    """Tensors without a shape."""
    written = (tensor.name for node in model.graph.nodes for tensor in node.outputs)
    return [name for name in written if name and name not in found.shapes]


def _choices(model: Model, sample: Mapping[str, ConcreteShape]) -> Iterator[dict[str, int]]:
    """Sizes for the symbols of the model's inputs; unnamed dimensions are symbols too."""
    static = {dim for shape in model.shapes.values() for dim in shape if isinstance(dim, int)}
    places: dict[str, tuple[str, int]] = {}  # symbol -> where it first occurs
    for tensor in model.graph.inputs:
        for axis, dim in enumerate(model.shapes.get(tensor.name, ())):
            if not isinstance(dim, int):
                places.setdefault(symbol(tensor.name, axis, dim), (tensor.name, axis))
    for least in _LEAST_PRIMES:
        primes = (p for p in _primes(least) if all(size == 0 or size % p for size in static))
        symbols = dict(zip(places, primes, strict=False))
        symbols |= _positions_with_cache(model, symbols)
        yield symbols
    at_sample = {symbol: sample[name][axis] for symbol, (name, axis) in places.items() if name in sample}
    batch = {symbol: size for symbol, size in symbols.items() if places[symbol][1] == 0}
    yield symbols | at_sample | batch
    yield symbols | at_sample


def _positions_with_cache(model: Model, sizes: Mapping[str, int]) -> dict[str, int]:
    """The size of a decoder's mask, if it is free: it covers what is in the cache and what comes."""
    decoder = decoder_interface(model)
    if decoder is None or not decoder.mask:
        return {}
    places = [(decoder.cache[0].past, decoder.cache[0].position_axis), (decoder.ids, 1), (decoder.mask, 1)]
    dims = [model.shapes.get(name, ()) for name, _ in places]
    if any(axis >= len(shape) for shape, (_, axis) in zip(dims, places, strict=True)):
        return {}
    past, new, both = (symbol(name, axis, dims[i][axis]) for i, (name, axis) in enumerate(places))
    is_free = {past, new, both} <= set(sizes) and len({past, new, both}) == len(places)
    return {both: sizes[past] + sizes[new]} if is_free else {}


def symbol(tensor: str, axis: int, dim: int | str | None) -> str:
    """A name for a free axis of an input: axes of one name have one size."""
    return str(dim or f"{tensor}/{axis}")


def _primes(least: int) -> Iterator[int]:
    return (n for n in count(least) if all(n % d for d in range(2, isqrt(n) + 1)))


def follow(
    model: Model,
    inputs: Mapping[str, ConcreteShape],
    symbols: Mapping[str, int],
    counts: Iterator[int] | None = None,
    measured: Mapping[str, ConcreteShape] | None = None,
    *,
    takes_branches: bool = False,
) -> Probe:
    """Shapes and sizes for given shapes of all ``inputs``; ``symbols`` are the dimensions that the file names.

    ``counts`` are numbers for what only data can tell, ``measured`` shapes that were found by running the model.
    With ``takes_branches`` an If has the shapes of the branch that it takes at these sizes.
    """
    found = Probe(shapes=dict(inputs))
    opsets = {entry.domain: entry.version for entry in model.header.opset_import}

    def visit(nodes: Iterable[gs.Node]) -> None:
        for node in nodes:
            enter_bodies(node, model, found)
            for body in bodies(node):
                visit(body.nodes)
            if not _evaluate(node, model, found, opsets):
                _infer(node, model, found, opsets, counts)
            leave_bodies(node, found, takes_branches=takes_branches)
            for tensor in node.outputs:
                if tensor.name and tensor.name not in found.shapes:
                    shape = _noted(model.shapes.get(tensor.name), symbols) or (measured or {}).get(tensor.name)
                    if shape is not None:
                        found.shapes[tensor.name] = shape

    visit(model.graph.nodes)
    return found


def _noted(dims: Shape | None, symbols: Mapping[str, int]) -> ConcreteShape | None:
    """What inference does not know the file may have noted."""
    known = [dim if isinstance(dim, int) else symbols.get(dim or "") for dim in dims or ()]
    return None if dims is None or None in known else tuple(dim for dim in known if dim is not None)


def _evaluate(node: gs.Node, model: Model, found: Probe, opsets: Mapping[str, int]) -> bool:
    """Compute a node that works on sizes alone; whether it was one."""
    if node.domain not in STANDARD_DOMAINS or not node.inputs or node.op in (*RANDOM, *ROUNDING):
        return False
    reading = NodeReading(node)
    written: list[np.ndarray] | None
    if node.op in ("Shape", "Size"):
        shape = found.shape(node.inputs[0])
        if shape is None:
            return False
        picked = [shape[axis] for axis in picked_dims(reading, len(shape))]
        written = [np.array(prod(shape) if node.op == "Size" else picked, dtype=np.int64)]
    else:
        values = [found.value(tensor) if tensor.name else None for tensor in node.inputs]
        if any(value is None for index, value in enumerate(values) if reading.has(index)):
            return False
        written = _computed(reading, values, model, opsets)
    if written is None or not all(map(_is_small, written)):
        return False
    for tensor, value in zip(node.outputs, written, strict=False):
        found.shapes[tensor.name] = value.shape
        found.values[tensor.name] = value
    return True


def _computed(
    node: NodeReading, values: Sequence[np.ndarray | None], model: Model, opsets: Mapping[str, int]
) -> list[np.ndarray] | None:
    """What a node makes of known values: by the table, and by ONNX's own evaluator where that does not know."""
    try:
        known = evaluate(node, values, CONCRETE)
        if known is not None:
            return known
        evaluator = ReferenceEvaluator(_proto(node.node, model), opsets=dict(opsets))
        feeds = {tensor.name: value for tensor, value in zip(node.inputs, values, strict=True) if value is not None}
        return [np.asarray(value) for value in evaluator.run(None, feeds)]
    except Exception as error:  # noqa: BLE001 - the reference implementation raises whatever NumPy does
        log.debug("cannot follow sizes through %s: %s", node.name, error)
        return None


def _is_small(values: np.ndarray) -> bool:
    """Whether an array may hold sizes: TorchScript lists the pads of an axis in pairs, so in two axes."""
    return _is_short(values.shape) and (values.ndim <= 1 or values.dtype.kind in "iu")


def _is_short(shape: ConcreteShape) -> bool:
    return len(shape) <= 2 and prod(shape) <= _VALUE_LIMIT


def _infer(node: gs.Node, model: Model, found: Probe, opsets: Mapping[str, int], counts: Iterator[int] | None) -> None:
    """One node's output shapes by ONNX's own inference."""
    domain = "" if node.domain in STANDARD_DOMAINS else node.domain
    if domain:
        inputs = [found.shape(tensor) if tensor.name else None for tensor in node.inputs]
        known = fused_shapes(_proto(node, model), inputs, opsets.get("", 1)) if domain == _FUSED_DOMAIN else []
        for tensor, shape in zip(node.outputs, known, strict=False):
            if shape is not None:
                found.shapes[tensor.name] = shape
        return
    if node.op in LIKE_FIRST_INPUT:
        first = found.shape(node.inputs[0])
        if first is not None:
            found.shapes[node.outputs[0].name] = first
        return
    types, data = {}, {}
    for tensor in node.inputs:
        shape = found.shape(tensor) if tensor.name else None
        if not tensor.name:
            continue
        value = found.value(tensor)
        dtype = _dtype(tensor, value, model, found)
        types[tensor.name] = onnx.helper.make_tensor_type_proto(dtype, shape)
        if value is not None and (dtype in _SIZES or node.op == "Resize"):
            data[tensor.name] = onnx.numpy_helper.from_array(value, tensor.name)
    try:
        inferred = node_types(_proto(node, model), types, data, opsets)
    except Exception as error:  # noqa: BLE001 - the binding raises several unrelated classes
        log.debug("no shape for %s: %s", node.name, error)
        return
    for name, kind in inferred.items():
        found.dtypes[name] = kind.tensor_type.elem_type
        if kind.HasField("tensor_type") and kind.tensor_type.HasField("shape"):
            sizes: list[int | None] = [
                int(dim.dim_value) if dim.HasField("dim_value") and dim.dim_value >= 0 else None
                for dim in kind.tensor_type.shape.dim
            ]
            dims = counted(node.op, sizes, counts)
            if None not in dims:
                found.shapes[name] = tuple(dim for dim in dims if dim is not None)


def _dtype(tensor: gs.Tensor, value: np.ndarray | None, model: Model, found: Probe) -> int:
    known = model.dtypes.get(tensor.name) or found.dtypes.get(tensor.name)
    if known is None and value is not None:
        known = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
    if known is None and isinstance(tensor, gs.Constant):
        known = (
            tensor.dtype
            if isinstance(tensor.dtype, int)
            else onnx.helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
        )
    return known or onnx.TensorProto.FLOAT


def _proto(node: gs.Node, model: Model) -> onnx.NodeProto:
    return export_node(node, model.node_protos)
