"""Products: MatMul, Gemm, Einsum."""

from __future__ import annotations

from graphprune.axes.algebra import Axes, Axis, size_of
from graphprune.axes.rules import CONTRIB, NodeTyping, require, rule
from graphprune.axes.rules.elementwise import broadcast


@rule("MatMul")
@rule("FusedMatMul", domain=CONTRIB)
def matmul(node: NodeTyping) -> list[Axes] | None:
    """``a (..., M, K) @ b (..., K, N)``; one-dimensional operands as in NumPy."""
    if node.attr("transBatchA", 0) or node.attr("transBatchB", 0):
        return None
    a, b = require(node.axes(0)), require(node.axes(1))
    at = -2 if node.attr("transA", 0) and len(a) > 1 else -1
    bt = -2 if len(b) > 1 and not node.attr("transB", 0) else -1
    node.unify(a[at], b[bt])
    _contract(node, (0, len(a) + at), (1, len(b) + bt))
    rows = [a[-3 - at]] if len(a) > 1 else []
    columns = [b[-3 - bt]] if len(b) > 1 else []
    batches = [axes[:-2] for axes in (a, b) if len(axes) > 2]
    return [(*(broadcast(node, batches) if batches else ()), *rows, *columns)]


@rule("Gemm")
def gemm(node: NodeTyping) -> list[Axes] | None:
    """``Y = alpha A' B' + beta C`` with optional transpositions."""
    a, b = require(node.axes(0)), require(node.axes(1))
    row, k = (1, 0) if node.attr("transA", 0) else (0, 1)
    k_b, column = (1, 0) if node.attr("transB", 0) else (0, 1)
    node.unify(a[k], b[k_b])
    _contract(node, (0, k), (1, k_b))
    written: Axes = (a[row], b[column])
    if node.has(2):
        written = broadcast(node, [written, require(node.axes(2))])
    return [written]


@rule("Einsum")
def einsum(node: NodeTyping) -> list[Axes] | None:
    """Any explicit or implicit equation without an ellipsis."""
    equation = node.attr("equation", "").replace(" ", "")
    terms, arrow, result = equation.partition("->")
    operands = terms.split(",")
    if "." in equation or len(operands) != len(node.inputs):
        return None
    if not arrow:
        letters = sorted(set(terms) - {","})
        result = "".join(letter for letter in letters if terms.count(letter) == 1)
    meaning: dict[str, Axis] = {}
    places: dict[str, list[tuple[int, int]]] = {}
    for operand, term in enumerate(operands):
        for position, (letter, axis) in enumerate(zip(term, require(node.axes(operand)), strict=True)):
            if term.count(letter) > 1:
                node.freeze(axis, "Einsum takes a diagonal of it")
            if size_of(axis) > 1 or letter not in meaning:
                if letter in meaning and size_of(meaning[letter]) > 1:
                    node.unify(meaning[letter], axis)
                else:
                    meaning[letter] = axis
            if size_of(axis) > 1:  # one that is broadcast cannot silence what it meets
                places.setdefault(letter, []).append((operand, position))
    for letter, where in places.items():
        if letter not in result:
            _contract(node, *where)
    return [tuple(meaning[letter] for letter in result)]


def _contract(node: NodeTyping, *places: tuple[int, int]) -> None:
    """Silencing one operand silences the product; data rather than weights, where there is a choice."""
    node.contract(*next((place for place in places if not node.is_constant(place[0])), places[0]))
