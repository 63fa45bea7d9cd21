"""Shortcuts that are narrower than what they join: ``Concat(x + f(x)[:c], f(x)[c:])``, as in ReXNet, and dual paths,
which also hand a part of ``x`` on as it is.

Without ``f`` that is ``x`` and zeros behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from graphprune.analysis.block_entries import joined
from graphprune.analysis.dataflow import DataFlow
from graphprune.ir.model import Shape
from graphprune.ir.node_reading import NodeReading

ShapeOf = Callable[[str], Shape | None]


@dataclass(frozen=True)
class Partial:
    """``entry`` and the zeros of ``pads`` (as ONNX's Pad lists them) make up ``exit`` where ``branches`` are silent.

    ``join`` is the Concat that makes the exit; ``branches`` are operands (node, index) of it and of the sums before it.
    """

    entry: str
    exit: str
    join: str
    branches: tuple[tuple[str, int], ...]
    pads: tuple[int, ...]


@dataclass(frozen=True)
class _Piece:
    """The places ``start`` to ``stop`` of a tensor along the axis of a Concat."""

    tensor: str
    start: int
    stop: int


def find_partial(flow: DataFlow, add: gs.Node, shape_of: ShapeOf) -> Partial | None:
    """The partial shortcut whose first sum is ``add``, if it is one."""
    concat = _only_reader(flow, add.outputs[0].name)
    outer = None if concat is None else _only_reader(flow, concat.outputs[0].name)
    for join in (concat, outer):
        shape = None if join is None or join.op != "Concat" else shape_of(join.outputs[0].name)
        if join is None or shape is None:
            continue
        axis, of_rank = join.attrs["axis"] % len(shape), _only_of_rank(len(shape), shape_of)
        for operand in (1, 0):
            entry = _piece(flow, add.inputs[operand].name, axis, of_rank)
            found = None if entry is None else _split(flow, join, axis, len(shape), of_rank, entry.tensor)
            if entry is None or found is None or found[0][0][0] != add.name:
                continue
            branches, zeros = found
            pads = [0] * (2 * len(shape))
            pads[len(shape) + axis] = zeros
            return Partial(entry.tensor, str(join.outputs[0].name), join.name, tuple(branches), tuple(pads))
    return None


def _only_of_rank(rank: int, shape_of: ShapeOf) -> ShapeOf:
    """The same of tensors with ``rank`` axes: what a sum repeats along some is no piece of what it is added to."""

    def known(tensor: str) -> Shape | None:
        shape = shape_of(tensor)
        return shape if shape is not None and len(shape) == rank else None

    return known


def _split(
    flow: DataFlow, join: gs.Node, axis: int, rank: int, shape_of: ShapeOf, entry: str
) -> tuple[list[tuple[str, int]], int] | None:
    """The operands of ``join``, and of the sums before it, that the entry has no part in, those of sums first; and how
    many places they have to themselves, which come last. None where the rest is not the entry in its order.
    """
    after_entry = flow.descendants(entry, until=join.name)
    sums: list[tuple[str, int]] = []
    alone: list[tuple[str, int]] = []
    reached = zeros = 0
    for node, index in _operands(flow, join, axis, rank):
        tensor = node.inputs[index].name
        own = piece = _piece(flow, tensor, axis, shape_of)
        maker = flow.maker(tensor)
        if piece is not None and piece.tensor != entry and maker is not None and joined(maker):
            parts = [_piece(flow, operand.name, axis, shape_of) for operand in maker.inputs]
            places = [i for i, part in enumerate(parts) if part is not None and part.tensor == entry]
            if len(parts) == 2 and len(places) == 1:
                own, other = parts[places[0]], 1 - places[0]
                if flow.producer.get(maker.inputs[other].name) not in after_entry:
                    return None
                sums.append((maker.name, other))
        if piece is None or own is None:
            return None
        if own.tensor == entry:
            if zeros or own.start != reached:
                return None
            reached = own.stop
        elif flow.producer.get(tensor) in after_entry:
            zeros += piece.stop - piece.start
            alone.append((node.name, index))
        else:
            return None
    whole = shape_of(entry)
    is_whole = whole is not None and reached == whole[axis]
    return ([*sums, *alone], zeros) if sums and zeros and is_whole else None


def _only_reader(flow: DataFlow, tensor: str) -> gs.Node | None:
    readers = flow.readers.get(tensor, [])
    is_seen = tensor in flow.outputs or tensor in flow.read_by_subgraphs
    return flow.nodes[readers[0]] if len(readers) == 1 and not is_seen else None


def _operands(flow: DataFlow, concat: gs.Node, axis: int, rank: int) -> list[tuple[gs.Node, int]]:
    """What a Concat joins, the operands of Concats among them in their place."""
    found: list[tuple[gs.Node, int]] = []
    for index, tensor in enumerate(concat.inputs):
        maker = flow.maker(tensor.name)
        is_inner = maker is not None and maker.op == "Concat" and maker.attrs["axis"] % rank == axis
        if maker is not None and is_inner and _only_reader(flow, tensor.name) is not None:
            found += [(maker, inner) for inner in range(len(maker.inputs))]
        else:
            found.append((concat, index))
    return found


def _piece(flow: DataFlow, tensor: str, axis: int, shape_of: ShapeOf) -> _Piece | None:
    """The tensor that a Slice or Split along ``axis`` takes this from, and which part; else all of it."""
    size, maker = _size(shape_of(tensor), axis), flow.maker(tensor)
    if size is None:
        return None
    start = None if maker is None else _start(maker, tensor, axis, shape_of)
    if maker is None or start is None:
        return _Piece(tensor, 0, size)
    return _Piece(str(maker.inputs[0].name), start, start + size)


def _start(node: gs.Node, tensor: str, axis: int, shape_of: ShapeOf) -> int | None:
    """Where an output of a Slice or Split begins in what it reads; None for other nodes and other axes."""
    reading, whole = NodeReading(node), shape_of(node.inputs[0].name)
    if node.op == "Split" and whole is not None and reading.attr("axis", 0) % len(whole) == axis:
        sizes = [_size(shape_of(output.name), axis) for output in node.outputs]
        before = sizes[: [output.name for output in node.outputs].index(tensor)]
        return None if None in before else sum(size for size in before if size is not None)
    if node.op != "Slice" or whole is None or not all(map(reading.is_constant, range(1, len(node.inputs)))):
        return None
    if not reading.has(3):
        return None
    starts, axes = (np.ravel(node.inputs[index].values) for index in (1, 3))
    steps = np.ravel(node.inputs[4].values) if reading.has(4) else np.ones(1)
    size = _size(whole, axis)
    if len(axes) != 1 or axes[0] % len(whole) != axis or steps[0] != 1 or size is None:
        return None
    return int(starts[0]) % size if starts[0] < 0 else int(starts[0])


def _size(shape: Shape | None, axis: int) -> int | None:
    size = None if shape is None else shape[axis]
    return size if isinstance(size, int) else None
