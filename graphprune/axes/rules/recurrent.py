"""Recurrent layers: features and hidden units may shrink; time, samples, gates and directions may not."""

from __future__ import annotations

from graphprune.axes.algebra import Axes, Axis, Concat, fresh
from graphprune.axes.rules import NodeTyping, require, rule

_GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}
_PEEPHOLES = 3


@rule("GRU", "LSTM", "RNN")
def recurrent(node: NodeTyping) -> list[Axes] | None:
    """``x (time, N, features)``, ``w (directions, gates * hidden, features)``, ``r (.., gates * hidden, hidden)``.

    A unit is one index of the hidden state, in all gates and both directions: the file has one ``hidden_size``. What
    the recurrence sums over are the columns of ``r``. Layout 1 has N first.
    """
    x, w, r = (require(node.axes(operand)) for operand in range(3))
    gates = _GATES[node.op]
    time, samples = (x[1], x[0]) if node.attr("layout", 0) else (x[0], x[1])
    node.freeze(time, f"{node.op} steps along it")
    node.freeze(samples, f"{node.op} keeps a state along it")
    hidden = fresh(node.attr("hidden_size", 0) or _size(node))
    node.size(hidden, attribute="hidden_size")
    directions = w[0]
    node.freeze(directions, f"it counts the directions of {node.op}")
    node.unify(x[2], w[2])
    node.unify(w[1], _repeated(hidden, gates))
    node.unify(r[1], _repeated(hidden, gates))
    node.unify(r[2], hidden)
    node.unify(r[0], directions)
    node.contract(0, 2)
    node.contract(2, 2)
    _side_inputs(node, samples, directions, hidden, gates)
    return _written(node, samples, directions, hidden)


def _size(node: NodeTyping) -> int:
    """Older files do not state it."""
    return require(node.out_shape(next(index for index, tensor in enumerate(node.outputs) if tensor.name)))[-1]


def _repeated(hidden: Axis, times: int) -> Axis:
    """One block of rows for each gate."""
    return Concat((hidden,) * times) if times > 1 else hidden


def _side_inputs(node: NodeTyping, samples: Axis, directions: Axis, hidden: Axis, gates: int) -> None:
    """Biases of both products, lengths, states to begin with, peepholes."""
    for operand, times in ((3, 2 * gates), (7, _PEEPHOLES)):
        if node.has(operand):
            rows = require(node.axes(operand))
            node.unify(rows[0], directions)
            node.unify(rows[1], _repeated(hidden, times))
    if node.has(4):
        node.unify(require(node.axes(4))[0], samples)
    for operand in (5, 6):
        if node.has(operand):
            for axis, own in zip(require(node.axes(operand)), _state(node, samples, directions, hidden), strict=True):
                node.unify(axis, own)


def _state(node: NodeTyping, samples: Axis, directions: Axis, hidden: Axis) -> Axes:
    return (samples, directions, hidden) if node.attr("layout", 0) else (directions, samples, hidden)


def _written(node: NodeTyping, samples: Axis, directions: Axis, hidden: Axis) -> list[Axes]:
    """All states, the last one, and the last cell."""
    written: list[Axes] = []
    for index, tensor in enumerate(node.outputs):
        if not tensor.name:
            written.append(())
        elif index:
            written.append(_state(node, samples, directions, hidden))
        elif node.attr("layout", 0):
            steps = node.frozen(require(node.out_shape(index))[1], f"{node.op} steps along it")
            written.append((samples, steps, directions, hidden))
        else:
            steps = node.frozen(require(node.out_shape(index))[0], f"{node.op} steps along it")
            written.append((steps, directions, samples, hidden))
    return written
