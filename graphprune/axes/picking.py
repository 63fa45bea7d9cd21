"""Tensors of indices into an axis that may shrink: what is made of them must pick entries of that axis, and no more.

A TopK over the scores of experts gives the numbers of those chosen. With experts removed the numbers count those that
are left: they must not be computed with, nor leave the graph.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from graphprune.axes import algebra
from graphprune.axes.algebra import Freeze
from graphprune.axes.typing import Typing

_ASK_FOR_SHAPES = {"Shape", "Size"}
_MOVES = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Cast", "Slice", "Expand", "Tile"}
_PICKS = {"Gather": 1, "GatherElements": 1, "OneHot": 0, "ScatterElements": 1}
"""Operators that pick by the indices they read as an operand."""
_SCALES = {"Add", "Sub", "Mul", "Div", "Sigmoid", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Cast"}
_CHOOSE = {"TopK": 0, "MoE": 1, "QMoE": 1}
_MOST_STEPS = 8


def follow_picked(node: gs.Node, typing: Typing) -> None:
    """Note that a node passes indices on; freeze their axis where it does anything but that and picking."""
    for operand, tensor in enumerate(node.inputs):
        axis = typing.picked.get(tensor.name)
        if axis is None or _PICKS.get(node.op) == operand or node.op in _ASK_FOR_SHAPES:
            continue
        if operand == 0 and (node.op in _MOVES or node.op == "Gather"):
            typing.picked[node.outputs[0].name] = axis
        else:
            algebra.freeze(axis, Freeze(f"{node.op} computes with what is chosen of it", node.name))


def settle_picked(typing: Typing) -> None:
    """Freeze axes whose indices leave the graph, and those of which no single index can go."""
    for name in typing.results & typing.picked.keys():
        algebra.freeze(typing.picked[name], Freeze("an index of it leaves the graph", name))
    for least in typing.least:
        axis = algebra.expand(least.axis)
        if not isinstance(axis, algebra.Atom):
            algebra.freeze(axis, Freeze("it is several axes in one, and some are chosen of all", least.node))
        elif least.count >= axis.size:
            algebra.freeze(axis, Freeze(f"all {axis.size} of it are chosen", least.node))


def is_chosen_from(node: gs.Node) -> bool:
    """Whether the largest of what a node writes are chosen, as a router does."""
    tensors = [node.outputs[0]]
    for _ in range(_MOST_STEPS):
        readers = [(reader, tensor) for tensor in tensors for reader in tensor.outputs]
        if any(_chooses(reader, tensor) for reader, tensor in readers):
            return True
        tensors = [reader.outputs[0] for reader, _ in readers if reader.op in _SCALES]
    return False


def _chooses(reader: gs.Node, tensor: gs.Tensor) -> bool:
    operand = _CHOOSE.get(reader.op)
    return operand is not None and operand < len(reader.inputs) and reader.inputs[operand] is tensor
