"""Joins, and where a block that ends in one may begin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from graphprune.analysis.dataflow import DataFlow

_SUMS = {"Add", "Sum", "Mean"}
# Norms of com.microsoft that add up their first two inputs, and the operand with the bias that they add as well.
SKIP_NORM_BIAS = {"SkipLayerNormalization": 4, "SkipSimplifiedLayerNormalization": 3}
_DEPTH = 4  # sums and scalings between a join and where its block begins
_TOTAL_OUTPUT = 3


@dataclass(frozen=True)
class ShortcutSource:
    """A tensor that a shortcut begins with. ``is_far``: constants scale it on the way to the join,
    or more than one sum lies between.
    """

    tensor: str
    is_far: bool = False


def joined(node: gs.Node) -> tuple[int, ...]:
    """The operands that ``node`` adds up, if it is a join: a sum of computed tensors and of nothing else."""
    operands: tuple[int, ...] = (0, 1) if node.op in SKIP_NORM_BIAS else tuple(range(len(node.inputs)))
    is_sum = node.op in _SUMS or node.op in SKIP_NORM_BIAS
    is_computed = all(node.inputs[i].name and not isinstance(node.inputs[i], gs.Constant) for i in operands)
    return operands if is_sum and len(operands) > 1 and is_computed else ()


def total_of(flow: DataFlow, join: gs.Node) -> str:
    """The tensor with the sum; where a norm keeps it to itself, what the norm makes of it."""
    output = join.outputs[-1].name if has_total(flow, join) else join.outputs[0].name
    return str(output)


def has_total(flow: DataFlow, join: gs.Node) -> bool:
    """Whether ``join`` is a norm that hands its sum on, too."""
    if join.op not in SKIP_NORM_BIAS or len(join.outputs) <= _TOTAL_OUTPUT:
        return False
    name = join.outputs[_TOTAL_OUTPUT].name
    return name in flow.outputs or name in flow.read_by_subgraphs or bool(flow.readers.get(name))


def sources(flow: DataFlow, entry: str) -> Iterator[ShortcutSource]:
    """Where a branch beside ``entry`` may begin: at the entry, at what the entry adds up, as in ``(x + a) + b``,
    or at what it scales, as in ``s * x + f(x)``.
    """
    pending, seen = [(ShortcutSource(entry), 0)], {entry}
    while pending:
        source, depth = pending.pop(0)
        yield source
        maker = flow.maker(source.tensor)
        if maker is None or depth == _DEPTH:
            continue
        is_scaling = _is_scaling(maker)
        if is_scaling or maker.op == "Add" or joined(maker):
            names = [name for name in dict.fromkeys(flow.data_reads(maker.name)) if name not in seen]
            seen.update(names)
            pending += [(ShortcutSource(name, source.is_far or is_scaling or depth > 0), depth + 1) for name in names]


def _is_scaling(node: gs.Node) -> bool:
    """Whether a node multiplies one computed tensor by a constant, or divides it by one."""
    if node.op not in ("Mul", "Div"):
        return False
    places = [index for index, tensor in enumerate(node.inputs) if isinstance(tensor, gs.Constant)]
    return places == [1] or (node.op == "Mul" and places == [0])
