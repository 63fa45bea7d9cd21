"""Operators that lay axes one behind the other or cut them: Concat, Split, Slice, Pad."""

from __future__ import annotations

from graphprune.axes.algebra import ONE, Axes, Axis, Concat, Product, cut, fresh, is_frozen, size_of
from graphprune.axes.rules import NodeTyping, require, rule


@rule("Concat")
def concat(node: NodeTyping) -> list[Axes] | None:
    """The joined axis is the concatenation, all others are shared."""
    operands = [require(node.axes(i)) for i in range(len(node.inputs))]
    axis = node.attr("axis") % len(operands[0])
    first = operands[0]
    for other in operands[1:]:
        for index, (one, two) in enumerate(zip(first, other, strict=True)):
            if index != axis:
                node.unify(one, two)
    joined = Concat(tuple(operand[axis] for operand in operands))
    return [(*first[:axis], joined, *first[axis + 1 :])]


@rule("Split")
def split(node: NodeTyping) -> list[Axes] | None:
    """Cut the axis; sizes stand in an input (opset 13), in an attribute (before), or are equal shares."""
    x = require(node.axes(0))
    axis = node.attr("axis", 0) % len(x)
    sizes = [require(node.out_shape(i))[axis] for i in range(len(node.outputs))]
    place: dict[str, int | str] = {"operand": 1} if node.opset >= 13 else {"attribute": "split"}
    rest, written = x[axis], []
    for element, size in enumerate(sizes):
        piece, rest = cut(rest, size)
        node.size(piece, element=element, **place)  # type: ignore[arg-type]  # one of the two places
        written.append((*x[:axis], piece, *x[axis + 1 :]))
    return list(written)


@rule("Slice")
def slice_(node: NodeTyping) -> list[Axes] | None:
    """A range with step 1 cuts its axis, a lane of an axis that is interleaved parts it; others freeze it."""
    x, shape = require(node.axes(0)), require(node.out_shape())
    starts, ends = require(node.ints(1)), require(node.ints(2))
    axes = (node.ints(3) if node.has(3) else None) or list(range(len(starts)))
    steps = (node.ints(4) if node.has(4) else None) or [1] * len(starts)
    written = list(x)
    for element, (axis, start, end, step) in enumerate(zip(axes, starts, ends, steps, strict=True)):
        whole = x[axis]
        size = size_of(whole)
        first, last, _ = slice(start, end, step).indices(size)
        if step == 1 and shape[axis] == size:
            continue  # takes everything; an end that is a number must still follow
        if 0 <= first < step < size and size % step == 0 and last == size and not is_frozen(whole):
            written[axis] = _lane(node, whole, step)
            if end == size:
                node.size(whole, operand=2, element=element)
            continue
        pieces = cut_out(whole, first, last) if step == 1 and 0 <= first <= last else None
        if pieces is None:
            node.freeze(whole, "Slice takes some of it")
            written[axis] = node.frozen(shape[axis], "Slice takes some of it")
            continue
        before, written[axis], after = pieces
        if first > 0:
            _limit(node, 1, element, start < 0, before, Concat((written[axis], after)))
        if last < size:
            _limit(node, 2, element, end < 0, Concat((before, written[axis])), after)
    for element, (axis, end) in enumerate(zip(axes, ends, strict=True)):
        if end == size_of(x[axis]) and written[axis] is x[axis]:
            node.size(x[axis], operand=2, element=element)
    return [tuple(written)]


def _lane(node: NodeTyping, whole: Axis, step: int) -> Axis:
    """Every ``step``-th index, as in rotary positions whose pairs lie side by side: pairs may go, lanes may not."""
    runs = fresh(size_of(whole) // step)
    node.unify(whole, Product((runs, Concat((ONE,) * step))))
    return runs


def cut_out(axis: Axis, first: int, last: int) -> tuple[Axis, Axis, Axis]:
    """What lies before the range, the range itself, and what lies behind it."""
    until, after = cut(axis, last)
    return (*cut(until, first), after)


def _limit(node: NodeTyping, operand: int, element: int, is_negative: bool, before: Axis, behind: Axis) -> None:
    """A start or an end counts what lies before it, or, negative, what lies behind."""
    node.size(behind if is_negative else before, operand=operand, element=element, is_negative=is_negative)


@rule("Pad")
def pad(node: NodeTyping) -> list[Axes] | None:
    """Padding with a constant lays new indices around the axis; any other padding freezes it."""
    x, shape, pads = require(node.axes(0)), require(node.out_shape()), require(node.ints(1))
    axes = (node.ints(3) if node.has(3) else None) or list(range(len(x)))
    written = list(x)
    for element, axis in enumerate(axes):
        before, after = pads[element], pads[element + len(axes)]
        if before == after == 0:
            continue
        if node.attr("mode", "constant") != "constant" or before < 0 or after < 0 or is_frozen(x[axis]):
            node.freeze(x[axis], "Pad runs along it")
            written[axis] = node.frozen(shape[axis], "Pad runs along it")
            continue
        left, right = fresh(before), fresh(after)
        for size, place in ((left, element), (right, element + len(axes))):
            if size_of(size):
                node.size(size, operand=1, element=place)
        written[axis] = Concat(tuple(part for part in (left, x[axis], right) if size_of(part)))
    return [tuple(written)]
