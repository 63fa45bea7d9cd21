"""Recurrent layers: torch's own, whose gates stand in another order."""

from __future__ import annotations

import operator
from typing import Any

from torch import nn

from graphprune.torch_bridge.functions import recurrent as functions
from graphprune.torch_bridge.layouts import GATES
from graphprune.torch_bridge.rules import Site, rule
from graphprune.torch_bridge.values import Value

_LAYERS: dict[str, type[nn.Module]] = {"GRU": nn.GRU, "LSTM": nn.LSTM, "RNN": nn.RNN}
_ACTIVATIONS = {"GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"], "RNN": ["Tanh"]}


@rule("GRU", "LSTM", "RNN")
def recurrent(site: Site) -> list[Value]:
    """``x (time, N, features)``, ``W (directions, gates * hidden, features)``, ``R``, ``B``, lengths, initial states."""
    op = site.node.op
    _check(site)
    directions, rows, features = site.dims(1)
    hidden = rows // len(GATES[op])
    options: dict[str, Any] = {"bias": site.has(3), "bidirectional": directions == 2}
    if op == "RNN":
        options["nonlinearity"] = site.attr("activations", ["Tanh"])[0].lower()
    constants = [site.node.inputs[operand] for operand in (1, 2, 3) if site.has(operand)]
    ends = ["_l0", "_l0_reverse"][:directions]
    keys = [[f"weight_ih{end}" for end in ends], [f"weight_hh{end}" for end in ends]]
    keys.append([f"bias_{kind}{end}" for end in ends for kind in ("ih", "hh")])

    def place() -> str:
        module = _LAYERS[op](features, hidden, **options)
        held = []
        for constant, names, part in zip(constants, keys, ("weight", "weight", "bias"), strict=False):
            layout = f"{op} {part}"
            for name, parameter in zip(names, site.builder.weight(constant, layout), strict=True):
                module.register_parameter(name, parameter)
            held.append((constant, names, layout))
        where = site.builder.tree.add_module(site.path(), module)
        for constant, names, layout in held:
            site.builder.member(where, constant, names, layout)
        return where

    identity = op, *(constant.name for constant in constants)
    states = [site.tensor(operand) for operand in (5, 6) if site.has(operand)]
    start = (tuple(states) if op == "LSTM" else states[0]) if states else None
    arguments = (site.tensor(0),) if start is None else (site.tensor(0), start)
    found = site.builder.graph.call_module(site.builder.reuse(identity, place), arguments)
    y = site.call(functions.by_direction, site.call(operator.getitem, found, 0), directions)
    last = site.call(operator.getitem, found, 1)
    if op != "LSTM":
        return [y, last]
    return [y, site.call(operator.getitem, last, 0), site.call(operator.getitem, last, 1)]


def _check(site: Site) -> None:
    """Refuse what torch's layers do not compute."""
    op = site.node.op
    if not all(site.is_weight(operand, 3) for operand in (1, 2)) or (site.has(3) and not site.is_weight(3, 2)):
        site.refuse("its weights are computed")
    if site.has(4) and not _is_whole(site):
        site.refuse("it has sequences of different lengths", "export it without packed sequences")
    if site.has(7):
        site.refuse("it has peepholes, which torch's LSTM has not")
    if site.has(5) != site.has(6) and op == "LSTM":
        site.refuse("it has an initial state, but not the other")
    if site.attr("layout", 0) or site.attr("clip") or site.attr("input_forget", 0):
        site.refuse("torch has no layer with its layout, clip or input_forget")
    if op == "GRU" and not site.attr("linear_before_reset", 0):
        site.refuse("torch's GRU applies the reset gate behind the product (linear_before_reset = 1)")
    if site.attr("direction", "forward") == "reverse":
        site.refuse("torch has no layer that only runs backwards")
    given = site.attr("activations")
    wanted = _ACTIVATIONS[op]
    if op == "RNN" and given and set(given) <= {"Tanh", "Relu"} and len(set(given)) == 1:
        return
    if given and given != wanted * (len(given) // len(wanted)):
        site.refuse(f"torch has no layer with the activations {given}")


def _is_whole(site: Site) -> bool:
    """Whether every sequence runs to the end."""
    lengths = site.array(4)
    return lengths is not None and bool((lengths == site.size(0, 0)).all())
