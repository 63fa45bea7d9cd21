"""Which axis of which weight a layer writes, and which it reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from graphprune.ir.quantised import weight_dims, weight_place
from graphprune.ir.recurrent_states import RECURRENT


@dataclass(frozen=True)
class WeightAxis:
    """One axis of the weights that ``node`` has as ``operand``; ``is_output`` tells whether the layer writes along it.

    ``constant`` is the node and the operand where they are read: others than these where they are quantised.
    """

    node: str
    operand: int
    axis: int
    is_output: bool
    constant: tuple[str, int]


def weight_axes(node: gs.Node) -> Iterator[WeightAxis]:
    """Output and input axes of a layer's weights; nothing for nodes that are not layers."""
    for operand, axis, is_output in _layout(node):
        place = weight_place(node, operand)
        if place is not None:
            yield WeightAxis(node.name, operand, axis, is_output, (place[0].name, place[1]))


def _layout(node: gs.Node) -> Iterator[tuple[int, int, bool]]:
    if node.op in ("Conv", "FusedConv"):
        yield from ((1, 0, True), (1, 1, False))
    elif node.op == "ConvTranspose":
        yield from ((1, 0, False), (1, 1, True))
    elif node.op in ("Gemm", "MatMul", "FusedMatMul"):
        yield from _product(node)
    elif node.op == "Einsum":
        yield from _einsum(node)
    elif node.op == "Gather":
        rank = len(weight_dims(node, 0) or ())
        by = node.attrs.get("axis", 0) % rank if rank else 0
        yield from ((0, axis, True) for axis in range(rank) if axis != by)
    elif node.op == "Attention" and node.domain == "com.microsoft":
        yield from ((1, 0, False), (1, 1, True))
    elif node.op in RECURRENT:
        yield from ((1, 1, True), (1, 2, False), (2, 1, True), (2, 2, False))


def _product(node: gs.Node) -> Iterator[tuple[int, int, bool]]:
    for operand, name in ((0, "transA"), (1, "transB")):
        rank = len(weight_dims(node, operand) or ())
        if rank >= 2:
            is_swapped = bool(node.attrs.get(name, 0))
            contracted = rank - 1 if (operand == 0) != is_swapped else rank - 2
            yield operand, contracted, False
            yield operand, 2 * rank - 3 - contracted, True
        elif rank == 1:
            yield operand, 0, False


def _einsum(node: gs.Node) -> Iterator[tuple[int, int, bool]]:
    terms, arrow, result = node.attrs.get("equation", "").replace(" ", "").partition("->")
    for operand, term in enumerate(terms.split(",")):
        others = "".join(other for index, other in enumerate(terms.split(",")) if index != operand)
        for axis, letter in enumerate(term):
            if letter not in others or (arrow and letter not in result):
                yield operand, axis, not arrow or letter in result
