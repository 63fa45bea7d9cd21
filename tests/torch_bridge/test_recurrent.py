"""Recurrent layers: gates in torch's order, and back in the file's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the bridge leads to torch")

from graphprune.errors import ModelError
from graphprune.ir.model import Model
from graphprune.torch_bridge import to_torch
from tests.torch_bridge.checks import check
from tests.torch_bridge.graphs import build, draw, node

FEED = {"x": draw(5, 2, 3)}
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def _layer(op: str, directions: int, *, bias: bool = True, initial: bool = False, **attributes: Any) -> Model:
    rows = 4 * _GATES[op]
    weights = {"w": draw(directions, rows, 3), "r": draw(directions, rows, 4)}
    inputs = "x w r"
    if bias:
        weights["b"] = draw(directions, 2 * rows)
        inputs += " b"
    if initial:
        weights["h"] = draw(directions, 2, 4, seed=1)
        inputs += (" _" if not bias else "") + " _ h"
        if op == "LSTM":
            weights["c"] = draw(directions, 2, 4, seed=2)
            inputs += " c"
    outputs = "y yh yc" if op == "LSTM" else "y yh"
    direction = "bidirectional" if directions == 2 else "forward"
    nodes = [node(op, inputs, outputs, hidden_size=4, direction=direction, **attributes)]
    return build(nodes, FEED, weights, outputs=outputs.split())


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize(("bias", "initial"), [(True, False), (False, False), (True, True)])
@pytest.mark.parametrize("op", _GATES)
def test_every_form_of_a_layer(op: str, bias: bool, initial: bool, directions: int) -> None:
    attributes = {"linear_before_reset": 1} if op == "GRU" else {}
    found = check(_layer(op, directions, bias=bias, initial=initial, **attributes), FEED)
    assert found.is_good
    states = {"LSTM": 2}.get(op, 1) if initial else 0  # a state that the author named can be learned
    assert found.parameters == (4 if bias else 2) * directions + states


@pytest.mark.parametrize(
    ("attributes", "why"),
    [
        ({"linear_before_reset": 0}, "reset gate"),
        ({"linear_before_reset": 1, "clip": 1.0}, "clip"),
        ({"linear_before_reset": 1, "activations": ["Relu", "Tanh"]}, "activations"),
    ],
)
def test_what_torch_does_not_compute_is_refused(attributes: dict[str, Any], why: str) -> None:
    with pytest.raises(ModelError, match=why):
        to_torch(_layer("GRU", 1, **attributes))


def test_sequences_of_different_lengths_are_refused() -> None:
    weights = {"w": draw(1, 4, 3), "r": draw(1, 4, 4), "l": np.array([5, 3], np.int32)}
    model = build([node("RNN", "x w r _ l", "y", hidden_size=4)], FEED, weights)
    with pytest.raises(ModelError, match="different lengths"):
        to_torch(model)
