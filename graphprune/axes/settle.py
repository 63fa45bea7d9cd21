"""The last look: an axis may shrink only if every number in the graph that depends on its size can be rewritten."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_graphsurgeon as gs

from graphprune.axes import algebra
from graphprune.axes.algebra import Axis, Freeze
from graphprune.axes.origins import Element, elements
from graphprune.axes.typing import SizeField, Typing
from graphprune.ir.bodies import all_nodes
from graphprune.ir.model import Model

_MOVES_SIZES = ("Unsqueeze", "Squeeze", "Cast", "Identity", "Concat", "Gather", "Slice", "Reshape", "Where")
_SHAPED = ("Reshape", "Expand", "ConstantOfShape")
_COMPUTES_SIZES = ("Mul", "Div", "Add", "Sub")


def settle(model: Model, typing: Typing) -> None:
    """Freeze axes whose sizes are computed in ways that a rewrite cannot follow."""
    nodes = {node.name: node for node in all_nodes(model.graph)}
    for field in typing.sizes:
        if not algebra.is_frozen(field.axis) and not _is_writable(field, nodes[field.node], typing):
            algebra.freeze(field.axis, Freeze("its size is computed in the graph", field.node))
    leaks = _Leaks(typing)
    for node in nodes.values():
        if node.op in ("Shape", "Size"):
            for axis in leaks.of(node):
                algebra.freeze(axis, Freeze("its size takes part in a computation", node.name))


def follows(field: SizeField, axis: Axis | None) -> bool:
    """Whether the field is always the size of ``axis``."""
    return axis is not None and not field.is_negative and algebra.sizes_agree(axis, field.axis)


def dimension(element: Element, typing: Typing) -> Axis | None:
    """The axis whose size an element is read from."""
    if element.dim is None:
        return None
    tensor, index = element.dim
    axes = typing.axes.get(tensor)
    return axes[index] if axes is not None else None


def _is_writable(field: SizeField, node: gs.Node, typing: Typing) -> bool:
    """Whether the field can be given a new number, or takes it by itself."""
    if follows(field, field.follows):
        return True
    if field.attribute or field.operand >= len(node.inputs) or isinstance(node.inputs[field.operand], gs.Constant):
        return True
    found = elements(node.inputs[field.operand], typing.probe)
    if found is None:
        return False
    element = found[field.element or 0]
    if follows(field, dimension(element, typing)):
        return True
    if not _stands_alone(element, found):
        return False
    return (
        element.number is not None
        or _can_be_inferred(field, node, typing, found)
        or _can_be_scaled(field, node, typing, element, found)
    )


def _stands_alone(element: Element, found: list[Element]) -> bool:
    """Whether a new number can take its place without tearing apart a piece that holds computed sizes."""
    mates = [other for other in found if other.piece is element.piece]
    return len(mates) == 1 or all(other.number is not None for other in mates)


def _can_be_inferred(field: SizeField, node: gs.Node, typing: Typing, found: list[Element]) -> bool:
    """A Reshape may leave one number open; it is written as -1 then."""
    if node.op != "Reshape" or any(element.number == -1 for element in found):
        return False
    return typing.inferred.setdefault(node.name, field.element or 0) == (field.element or 0)


def _can_be_scaled(field: SizeField, node: gs.Node, typing: Typing, element: Element, found: list[Element]) -> bool:
    """A size that is worked out, say as samples times heads, shrinks as its factors do: what is worked out stays the
    same, see :class:`_Leaks`.
    """
    is_alone = sum(other.piece is element.piece for other in found) == 1
    if node.op not in _SHAPED or not is_alone or algebra.shrinking_part(field.axis) is None:
        return False
    typing.scaled.add((node.name, field.operand, field.element or 0))
    return True


class _Leaks:
    """Finds sizes of unfrozen axes that reach anything but a place where the rewrite looks after them."""

    def __init__(self, typing: Typing) -> None:
        self._typing = typing
        self._fields = {(field.node, field.operand, field.element or 0): field for field in typing.sizes}
        self._operands = {(field.node, field.operand) for field in typing.sizes}

    def of(self, node: gs.Node) -> Iterator[Axis]:
        """Unfrozen axes of the input of a Shape or Size whose sizes leak."""
        axes = self._typing.axes.get(node.inputs[0].name)
        if axes is None:
            return
        picked = range(len(axes))[node.attrs.get("start", 0) : node.attrs.get("end")]
        free = [index for index in picked if not algebra.is_frozen(axes[index])]
        if node.outputs[0].name in self._typing.results:
            yield from (axes[index] for index in free)
        for reader in node.outputs[0].outputs if free else ():
            taken = self._taken(reader, node, free)
            if taken and not self._is_safe(reader, node.outputs[0], is_computed=node.op == "Size"):
                yield from (axes[index] for index in taken)

    def _taken(self, reader: gs.Node, shape: gs.Node, free: list[int]) -> list[int]:
        """Those of the axes whose size ``reader`` passes on."""
        if reader.op not in ("Gather", "Slice") or reader.inputs[0] is not shape.outputs[0]:
            return free
        chosen = elements(reader.outputs[0], self._typing.probe)
        return [axis for axis in free if chosen is None or any(e.dim and e.dim[1] == axis for e in chosen)]

    def _is_safe(self, reader: gs.Node, tensor: gs.Tensor, is_computed: bool) -> bool:
        """Whether everything that ``reader`` makes of ``tensor`` ends as a size that is looked after."""
        places = [index for index, read in enumerate(reader.inputs) if read is tensor]
        if all((reader.name, index) in self._operands for index in places):
            return all(self._is_kept_up(reader, index, is_computed) for index in places)
        if reader.op == "Equal" and len(places) == 1:  # the exporter's test for -1, "keep this size", which no size is
            other = self._typing.probe.value(reader.inputs[1 - places[0]])
            return other is not None and bool((other < 0).all())
        if reader.op in _COMPUTES_SIZES:
            if self._can_be_restored(reader, places, tensor):
                return True
            is_computed = True
        elif reader.op not in _MOVES_SIZES or (
            (0 in places if reader.op == "Where" else places != [0]) and reader.op != "Concat"
        ):
            return False
        copy = reader.outputs[0]
        if copy.name in self._typing.results:
            return False
        return bool(copy.outputs) and all(self._is_safe(further, copy, is_computed) for further in copy.outputs)

    def _can_be_restored(self, node: gs.Node, places: list[int], tensor: gs.Tensor) -> bool:
        """Whether ``node`` can be told the size as it was; what it makes of that is then what it was, too."""
        found = elements(tensor, self._typing.probe) or []
        axis = dimension(found[0], self._typing) if len(found) == 1 else None
        if axis is None or algebra.shrinking_part(axis) is None:
            return False
        self._typing.restored.update({(node.name, place): axis for place in places})
        return True

    def _is_kept_up(self, node: gs.Node, operand: int, is_computed: bool) -> bool:
        """Whether every number of a size operand that is not constant stays right when axes shrink."""
        found = elements(node.inputs[operand], self._typing.probe)
        for index, element in enumerate(found or ()):
            if element.number is not None or self._typing.inferred.get(node.name) == index:
                continue
            axis = dimension(element, self._typing)
            if axis is None and is_computed:
                return False
            field = self._fields.get((node.name, operand, index))
            if axis is not None and not algebra.is_frozen(axis) and not (field and follows(field, axis)):
                return False
        return found is not None
