"""Which axis of which weight a layer writes, and which it reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_graphsurgeon as gs


@dataclass(frozen=True)
class WeightAxis:
    """One axis of a constant that ``node`` reads at ``operand``;
    ``is_output`` tells whether the layer writes along it.
    """

    node: str
    operand: int
    axis: int
    is_output: bool


def weight_axes(node: gs.Node) -> Iterator[WeightAxis]:
    """Output and input axes of a layer's weights; nothing for nodes that are not layers."""
    for operand, axis, is_output in _layout(node):
        if operand < len(node.inputs) and isinstance(node.inputs[operand], gs.Constant):
            yield WeightAxis(node.name, operand, axis, is_output)


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
        rank = len(node.inputs[0].shape or ())
        by = node.attrs.get("axis", 0) % rank if rank else 0
        yield from ((0, axis, True) for axis in range(rank) if axis != by)
    elif node.op == "Attention" and node.domain == "com.microsoft":
        yield from ((1, 0, False), (1, 1, True))
    elif node.op in ("GRU", "LSTM", "RNN"):
        yield from ((1, 1, True), (1, 2, False), (2, 1, True), (2, 2, False))


def _product(node: gs.Node) -> Iterator[tuple[int, int, bool]]:
    for operand, name in ((0, "transA"), (1, "transB")):
        rank = len(node.inputs[operand].shape or ()) if isinstance(node.inputs[operand], gs.Constant) else 0
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
