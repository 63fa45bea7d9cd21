"""Where the numbers of a small integer tensor come from: constants, dimensions of tensors, or arithmetic.

Older exporters write ``Reshape(x, Concat(Gather(Shape(x), 0), 4, 16))``; to change the 4 one must find it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx_graphsurgeon as gs

from graphprune.axes.probe import Probe
from graphprune.ir.concrete_sizes import CONCRETE
from graphprune.ir.node_reading import NodeReading
from graphprune.ir.size_arithmetic import evaluate, picked_dims

_PASS_ON = ("Unsqueeze", "Squeeze", "Reshape", "Cast", "Identity")


@dataclass(frozen=True)
class Element:
    """One number. ``piece`` is the one-dimensional tensor that brings it into the last Concat,
    ``index`` its place there.

    ``number`` is its value where a constant holds it; ``dim`` is (tensor name, axis) where it is read from a shape.
    """

    piece: gs.Tensor
    index: int
    number: int | None = None
    dim: tuple[str, int] | None = None


def elements(tensor: gs.Tensor, probe: Probe) -> list[Element] | None:
    """The origin of every number in ``tensor``; None where their count is not known."""
    value = probe.value(tensor)
    if value is None or value.ndim > 1:
        return None
    if isinstance(tensor, gs.Constant):
        return [Element(tensor, index, int(number)) for index, number in enumerate(np.ravel(value))]
    found = _trace(tensor.inputs[0], probe) if tensor.inputs else None
    if found is None or len(found) != value.size:
        return [Element(tensor, index) for index in range(value.size)]
    return found


def _trace(node: gs.Node, probe: Probe) -> list[Element] | None:
    """Origins of the first output of a node that moves numbers about; None for any other node."""
    if node.op == "Shape":
        axes = picked_dims(NodeReading(node), len(probe.shape(node.inputs[0]) or ()))
        return [Element(node.outputs[0], i, dim=(node.inputs[0].name, axis)) for i, axis in enumerate(axes)]
    if node.op == "Concat":
        joined: list[Element] = []
        for tensor in node.inputs:
            part = elements(tensor, probe)
            if part is None:
                return None
            whole = any(element.piece is not tensor for element in part) and not _is_concat(tensor)
            joined += [replace(e, piece=tensor, index=i) for i, e in enumerate(part)] if whole else part
        return joined
    if node.op in _PASS_ON:
        return elements(node.inputs[0], probe)
    if node.op == "Where":
        condition, yes, no = node.inputs[0], elements(node.inputs[1], probe), elements(node.inputs[2], probe)
        chosen = probe.value(condition)
        if chosen is None or yes is None or no is None or not chosen.size == len(yes) == len(no):
            return None
        if chosen.all() or not chosen.any():
            return yes if chosen.all() else no
        picked = [y if takes else n for takes, y, n in zip(np.ravel(chosen), yes, no, strict=True)]
        return [replace(element, piece=node.outputs[0], index=i) for i, element in enumerate(picked)]
    if node.op in ("Gather", "Slice"):
        return _pick(node, probe)
    return None


def _is_concat(tensor: gs.Tensor) -> bool:
    return bool(tensor.inputs) and tensor.inputs[0].op in ("Concat", "Where")


def _pick(node: gs.Node, probe: Probe) -> list[Element] | None:
    """Gather and Slice with known positions."""
    source = elements(node.inputs[0], probe)
    arguments = [probe.value(tensor) for tensor in node.inputs[1:]]
    if source is None or any(argument is None for argument in arguments):
        return None
    taken = evaluate(NodeReading(node), [np.arange(len(source)), *arguments], CONCRETE)
    if taken is None:
        return None
    return [replace(source[place], piece=node.outputs[0], index=i) for i, place in enumerate(np.ravel(taken[0]))]
