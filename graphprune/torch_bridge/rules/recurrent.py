"""Recurrent layers: torch's own, whose gates stand in another order."""

from __future__ import annotations

import operator
from typing import Any

from torch import nn

from graphprune.torch_bridge.functions import recurrent as functions
from graphprune.torch_bridge.layouts import GATES
from graphprune.torch_bridge.rules import NodeConversion, rule
from graphprune.torch_bridge.values import Value

_LAYERS: dict[str, type[nn.Module]] = {"GRU": nn.GRU, "LSTM": nn.LSTM, "RNN": nn.RNN}
_ACTIVATIONS = {"GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"], "RNN": ["Tanh"]}


@rule("GRU", "LSTM", "RNN")
def recurrent(node: NodeConversion) -> list[Value]:
    """``x (time, N, features)``, ``W (directions, gates * hidden, features)``, ``R``, ``B``, lengths,
    initial states.
    """
    op = node.op
    _check(node)
    directions, rows, features = node.dims(1)
    hidden = rows // len(GATES[op])
    options: dict[str, Any] = {"bias": node.has(3), "bidirectional": directions == 2}
    if op == "RNN":
        options["nonlinearity"] = node.attr("activations", ["Tanh"])[0].lower()
    constants = [node.inputs[operand] for operand in (1, 2, 3) if node.has(operand)]
    ends = ["_l0", "_l0_reverse"][:directions]
    keys = [[f"weight_ih{end}" for end in ends], [f"weight_hh{end}" for end in ends]]
    keys.append([f"bias_{kind}{end}" for end in ends for kind in ("ih", "hh")])

    def place() -> str:
        module = _LAYERS[op](features, hidden, **options)
        held = []
        for constant, names, part in zip(constants, keys, ("weight", "weight", "bias"), strict=False):
            layout = f"{op} {part}"
            for name, parameter in zip(names, node.conversion.parameters.of(constant, layout), strict=True):
                module.register_parameter(name, parameter)
            held.append((constant, names, layout))
        where = node.conversion.tree.add_module(node.path(), module)
        for constant, names, layout in held:
            node.conversion.parameters.member(where, constant, names, layout)
        return where

    identity = op, *(constant.name for constant in constants)
    states = [node.tensor(operand) for operand in (5, 6) if node.has(operand)]
    start = (tuple(states) if op == "LSTM" else states[0]) if states else None
    arguments = (node.tensor(0),) if start is None else (node.tensor(0), start)
    found = node.shared_module(identity, place, *arguments)
    y = node.call(functions.by_direction, node.call(operator.getitem, found, 0), directions)
    last = node.call(operator.getitem, found, 1)
    if op != "LSTM":
        return [y, last]
    return [y, node.call(operator.getitem, last, 0), node.call(operator.getitem, last, 1)]


def _check(node: NodeConversion) -> None:
    """Refuse what torch's layers do not compute."""
    op = node.op
    if not all(node.is_weight(operand, 3) for operand in (1, 2)) or (node.has(3) and not node.is_weight(3, 2)):
        node.refuse("its weights are computed")
    if node.has(4) and not _is_whole(node):
        node.refuse("it has sequences of different lengths", "export it without packed sequences")
    if node.has(7):
        node.refuse("it has peepholes, which torch's LSTM has not")
    if node.has(5) != node.has(6) and op == "LSTM":
        node.refuse("it has an initial state, but not the other")
    if node.attr("layout", 0) or node.attr("clip") or node.attr("input_forget", 0):
        node.refuse("torch has no layer with its layout, clip or input_forget")
    if op == "GRU" and not node.attr("linear_before_reset", 0):
        node.refuse("torch's GRU applies the reset gate behind the product (linear_before_reset = 1)")
    if node.attr("direction", "forward") == "reverse":
        node.refuse("torch has no layer that only runs backwards")
    given = node.attr("activations")
    wanted = _ACTIVATIONS[op]
    if op == "RNN" and given and set(given) <= {"Tanh", "Relu"} and len(set(given)) == 1:
        return
    if given and given != wanted * (len(given) // len(wanted)):
        node.refuse(f"torch has no layer with the activations {given}")


def _is_whole(node: NodeConversion) -> bool:
    """Whether every sequence runs to the end."""
    lengths = node.array(4)
    return lengths is not None and bool((lengths == node.size(0, 0)).all())
