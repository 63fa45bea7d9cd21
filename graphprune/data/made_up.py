"""Inputs made up for a model without data: random values that its sizes and its tables allow."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from graphprune.data.batching import Arrays, Batching
from graphprune.data.dataset import Data, input_specs
from graphprune.data.fitting import InputSpec
from graphprune.data.symbols import likely
from graphprune.errors import DataError
from graphprune.ir.model import Model, Shape, constant_dims

Shapes = Mapping[str, tuple[int, ...]]
"""Sizes by input name; "" stands for any input."""
Ranges = Mapping[str, tuple[float, float]]

_PASS_THROUGH = {
    "Cast",
    "Reshape",
    "Unsqueeze",
    "Squeeze",
    "Identity",
    "Flatten",
    "Transpose",
    "Slice",
    "Expand",
    "Tile",
    "Concat",
    "Split",
    "Gather",
}
_BYTE = 255.0
_SIZE_NAME = re.compile(r"(^|[^a-z])(size|shape)s?($|[^a-z])")  # of an image, say, to scale a result to
_SIZE_VALUES = 4  # numbers in such an input at most
_SIDE = 64.0


def synthetic(
    model: Model, seed: int, samples: int, shapes: Shapes, ranges: Ranges, batching: Batching | None = None
) -> Data:
    """Random inputs for a model without data: uniform in [0, 1] or in the range given;
    ids below the rows of the table that they pick from.

    Raises
    ------
    DataError
        The size of a free axis is not given, or an option names what the model does not have.
    """
    specs = tuple(input_specs(model))
    check_given(specs, shapes, ranges)
    batching = batching or likely(specs)
    count = max(samples, batching.size or 1)

    def runs() -> Iterator[Arrays]:
        for number in range(samples):
            yield made_up(model, np.random.default_rng((seed, number)), 1, shapes, ranges, batching)

    if not batching.counts_samples:
        return Data(specs, runs, "synthetic", "synthetic inputs", samples, batching)
    arrays = made_up(model, np.random.default_rng(seed), count, shapes, ranges, batching)
    return Data(specs, lambda: iter([arrays]), "synthetic", "synthetic inputs", count, batching)


def made_up(
    model: Model, generator: np.random.Generator, samples: int, shapes: Shapes, ranges: Ranges, batching: Batching
) -> Arrays:
    """One array for each input, of ``samples`` samples. DataError as for :func:`synthetic`."""
    specs = input_specs(model)
    sizes = {spec.name: _sizes(spec, shapes, samples, batching.axis(spec.name)) for spec in specs}
    symbols = {
        dim: size
        for spec in specs
        for axis, (dim, size) in enumerate(zip(spec.dims, sizes[spec.name], strict=True))
        if isinstance(dim, str) and axis != batching.axis(spec.name)
    }
    return {spec.name: _values(model, spec, generator, sizes[spec.name], ranges, symbols) for spec in specs}


def check_given(specs: Sequence[InputSpec], shapes: Shapes, ranges: Ranges) -> None:
    """Refuse options that do not fit the model. DataError says which."""
    known = {spec.name for spec in specs} | {""}
    for option, names in (("--input-shapes", shapes), ("--val-range", ranges)):
        unknown = sorted(set(names) - known)
        if unknown:
            raise DataError(
                f"{option} names the input '{unknown[0]}', which the model does not have",
                f"its inputs are: {', '.join(sorted(known - {''}))}",
            )
    for spec in specs:
        given = given_sizes(spec, shapes)
        if given is not None and len(given) != len(spec.dims):
            raise DataError(
                f"--input-shapes gives {len(given)} sizes for '{spec.name}', which has {len(spec.dims)} axes",
                "correct it",
            )
        for axis, (dim, size) in enumerate(zip(spec.dims, shapes.get(spec.name, ()), strict=False)):
            if axis > 0 and isinstance(dim, int) and dim != size:
                raise DataError(
                    f"--input-shapes gives {size} for axis {axis} of input '{spec.name}', which is fixed to {dim}",
                    "correct it",
                )


def given_sizes(spec: InputSpec, shapes: Shapes) -> tuple[int, ...] | None:
    """What was said of this input, or of any."""
    return shapes.get(spec.name) or (shapes.get("") if spec.dims else None)


def _sizes(spec: InputSpec, shapes: Shapes, samples: int, batch_axis: int | None) -> list[int]:
    given, sizes = given_sizes(spec, shapes), []
    for axis, dim in enumerate(spec.dims):
        size = samples if axis == batch_axis else dim if isinstance(dim, int) else given[axis] if given else None
        if size is None:
            raise DataError(
                f"axis {axis} of input '{spec.name}' is free ({dim or '?'})", f"give --input-shapes {spec.name}:SIZES"
            )
        sizes.append(size)
    return sizes


def _values(
    model: Model,
    spec: InputSpec,
    generator: np.random.Generator,
    sizes: list[int],
    ranges: Ranges,
    symbols: Mapping[str, int],
) -> np.ndarray:
    name, dtype = spec.name, spec.dtype
    low, high = ranges.get(name) or ranges.get("") or _natural_range(model, spec, symbols)
    if dtype.kind == "f":
        if max(abs(low), abs(high)) > float(np.finfo(dtype).max):
            raise DataError(f"the range [{low:g}, {high:g}] of input '{name}' is too large for {dtype}", "narrow it")
        return np.asarray(generator.uniform(low, high, sizes)).astype(dtype)
    if dtype.kind == "O":
        return np.full(sizes, "a", dtype)
    if dtype.kind == "b":
        return np.ones(sizes, dtype)
    if dtype.kind in "iu":
        return np.asarray(generator.integers(int(low), int(high), sizes, endpoint=True)).astype(dtype)
    if dtype.name.startswith("bfloat"):
        return np.asarray(generator.uniform(low, high, sizes)).astype(dtype)
    raise DataError(f"cannot make up values of type {dtype} for input '{name}'", "give --data")


def _natural_range(model: Model, spec: InputSpec, symbols: Mapping[str, int]) -> tuple[float, float]:
    """Indices stay below what they pick from, sizes are usual ones, bytes are pixels; of the rest nothing is known."""
    is_integer = spec.dtype.kind in "iu"
    if is_integer and "mask" in spec.name:
        return 1, 1
    tensor = next(t for t in model.graph.inputs if t.name == spec.name)
    if is_integer and (bounds := list(_bounds(model, tensor, symbols, set()))):
        return 0, max(0, min(bounds) - 1)
    if _SIZE_NAME.search(spec.name.lower()) and (not spec.dims or (len(spec.dims) < 3 and _is_short(spec.dims[-1]))):
        return _SIDE, _SIDE
    return (0, _BYTE) if spec.dtype == np.uint8 else (0, 1)


def _is_short(dim: int | str | None) -> bool:
    return isinstance(dim, int) and dim <= _SIZE_VALUES


def _bounds(model: Model, tensor: gs.Tensor, symbols: Mapping[str, int], seen: set[str]) -> Iterator[int]:
    """How many entries there are to pick from, at every node that takes ``tensor`` for indices."""
    if tensor.name in seen:
        return
    seen.add(tensor.name)
    for node in tensor.outputs:
        operands = [index for index, each in enumerate(node.inputs) if each is tensor]
        for operand in operands:
            if (table := _table(node, operand)) is not None:
                source, axis = table
                dims = _dims(model, source)
                size = dims[axis] if dims is not None and -len(dims) <= axis < len(dims) else None
                size = symbols.get(size) if isinstance(size, str) else size
                if size is not None:
                    yield size
            elif node.op in _PASS_THROUGH and (operand == 0 or node.op == "Concat"):
                for output in node.outputs:
                    yield from _bounds(model, output, symbols, seen)


def _table(node: gs.Node, operand: int) -> tuple[gs.Tensor, int] | None:
    """What a node picks from by the indices in this operand, and along which axis."""
    if node.op in ("Gather", "GatherElements", "ScatterElements") and operand == 1:
        return node.inputs[0], int(node.attrs.get("axis", 0))
    if node.op == "EmbedLayerNormalization" and operand < 2:
        return node.inputs[(2, 4)[operand]], 0
    return None


def _dims(model: Model, tensor: gs.Tensor) -> Shape | None:
    return constant_dims(tensor) if isinstance(tensor, gs.Constant) else model.shapes.get(tensor.name)
