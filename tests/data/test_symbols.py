"""What symbols and sizes tell of the axes that count samples."""

from __future__ import annotations

from typing import Any

import pytest

from graphprune.data.dataset import input_specs
from graphprune.data.symbols import guesses
from graphprune.errors import OptionError
from graphprune.ir.loading import load
from tests.graphs import build

SETTLED: list[tuple[str, dict[str, int | None], int | None]] = [
    ("float[N,3] x, float[N,T] z", {"x": 0, "z": 0}, None),
    ("float[N,3] x, float[2,N,4] z", {"x": 0, "z": 1}, None),
    ("float[N,3] x, float z", {"x": 0, "z": None}, None),
    ("float[T,N,3] x, float[N,T] z", {"x": 1, "z": 0}, None),
    ("float[T,batch_size,3] x, float[2,batch_size,4] z", {"x": 1, "z": 1}, None),
    ("float[nodes,3] x, float[nodes,T] z", {"x": 0, "z": 0}, None),
    ("float[batch,3] x, float[batch_1,T] z", {"x": 0, "z": 0}, None),
    ("float[4,3] x, float[4,7] z", {"x": 0, "z": 0}, 4),
    ("float[1,3] x, float[2,1,4] z", {"x": 0, "z": 1}, 1),
    ("float[1,3] x, float[2] z", {"x": 0, "z": None}, 1),
    ("float[1,3,H,W] x, float[2] z", {"x": 0, "z": None}, 1),
    ("float x, float z", {"x": None, "z": None}, 1),
]
TRIED: list[tuple[str, list[dict[str, int | None]]]] = [
    ("float[N,3] x, float[3] z", [{"x": 0, "z": None}, {"x": 0, "z": 0}]),
    ("float[?,3] x, float[3] z", [{"x": 0, "z": None}, {"x": 0, "z": 0}, {"x": None, "z": None}]),
    ("float[?,3] x, float[?,4] z", [{"x": 0, "z": 0}, {"x": None, "z": None}]),
    ("float[p,3] x, float[q,4] z", [{"x": 0, "z": 0}, {"x": 0, "z": None}, {"x": None, "z": None}]),
    ("float[nodes,3] x, int64[2,E] z", [{"x": 0, "z": None}, {"x": 0, "z": 1}, {"x": None, "z": None}]),
    ("float[?,3] x, float[2,?,4] z", [{"x": 0, "z": 1}, {"x": 0, "z": None}, {"x": None, "z": None}]),
    ("float[batch,S] x, int64[S] z", [{"x": 0, "z": None}, {"x": 0, "z": 0}, {"x": None, "z": None}]),
]


def specs(inputs: str) -> Any:
    nodes = "{ a = Identity(x) b = Identity(z) }" if " z" in inputs else "{ a = Identity(x) b = Relu(x) }"
    kinds = inputs.replace(" x", " ").split(", ")
    outputs = [kind.replace("z", "").strip() for kind in (*kinds, *kinds)][:2]
    return input_specs(load(build(f"({inputs}) => ({outputs[0]} a, {outputs[1]} b) {nodes}")))


@pytest.mark.parametrize(("inputs", "axes", "size"), SETTLED)
def test_settled_by_symbols(inputs: str, axes: dict[str, int | None], size: int | None) -> None:
    found = guesses(specs(inputs))
    assert [dict(each.axes) for each in found.candidates] == [axes]
    assert found.untried.size == size


@pytest.mark.parametrize(("inputs", "axes"), TRIED)
def test_to_be_tried(inputs: str, axes: list[dict[str, int | None]]) -> None:
    found = guesses(specs(inputs))
    assert [dict(each.axes) for each in found.candidates] == axes


def test_a_single_input_counts_along_its_first_axis_unless_another_is_called_batch() -> None:
    assert guesses(specs("float[T,3] x")).untried.axes == {"x": 0}
    assert guesses(specs("float[T,N,3] x")).untried.axes == {"x": 1}
    assert guesses(specs("float[5,3] x")).untried.size == 5


def test_what_the_user_says_counts() -> None:
    found = guesses(specs("float[p,q,3] x, float[2,q,4] z"), {"x": 1})
    assert [dict(each.axes) for each in found.candidates] == [{"x": 1, "z": 1}]
    found = guesses(specs("float[p,3] x, float[p,4] z"), {"x": None, "z": None})
    assert [(dict(each.axes), each.size) for each in found.candidates] == [({"x": None, "z": None}, 1)]


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"y": 0}, "names the input 'y', which the model does not have"),
        ({"x": 2}, "x=2: the input has 2 axes"),
        ({"x": 0, "z": 0}, "names axes of different sizes"),
    ],
)
def test_what_the_user_says_must_be_there(said: dict[str, int | None], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        guesses(specs("float[4,3] x, float[2,3] z"), said)
