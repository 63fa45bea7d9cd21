"""A network that is shown the same batches again runs once for each, within the memory allowed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphprune.runtime.known_answers import KnownAnswers, Remembering
from graphprune.runtime.sessions import RuntimeOptions, open_session, run
from graphprune.runtime.turns import Turns
from tests.graphs import residual_mlp

OPTIONS = RuntimeOptions(threads=1)
X = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)


class Counted:
    """A session that counts its runs."""

    def __init__(self) -> None:
        self._inner = open_session(residual_mlp(2), OPTIONS)
        self.runs = 0

    def run(self, outputs: list[str] | None, feeds: dict[str, np.ndarray]) -> Any:
        self.runs += 1
        return self._inner.run(outputs, feeds)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def test_each_batch_once_and_for_whoever_asks_to_change() -> None:
    session, known = Counted(), KnownAnswers()
    asked = Remembering(lambda: session, known)
    first = run(asked, {"x": X[:3]}, ["y"])[0]
    expected = first.copy()
    for _ in range(2):
        again = run(asked, {"x": X[:3]}, ["y"])[0]
        np.testing.assert_array_equal(again, expected)
        again += 1
    assert session.runs == 1
    run(asked, {"x": X[3:]}, ["y"])
    run(asked, {"x": X[:3].reshape(1, 3, 4)[0][:2]}, ["y"])
    run(asked, {"x": X[:3]})  # all outputs are another question
    assert session.runs == 4


def test_no_more_than_fits_is_held_and_the_rest_runs_again() -> None:
    session, known = Counted(), KnownAnswers(limit_bytes=40)
    asked = Remembering(lambda: session, known)
    wanted = [run(session, {"x": X[i : i + 3]}, ["y"])[0] for i in (0, 3)]
    session.runs = 0
    for _ in range(3):
        found = [run(asked, {"x": X[i : i + 3]}, ["y"])[0] for i in (0, 3)]
        np.testing.assert_array_equal(found, wanted)
    assert known.held_bytes == wanted[0].nbytes <= 40 < 2 * wanted[0].nbytes
    assert session.runs == 1 + 3


def test_what_is_known_needs_no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    known = KnownAnswers()
    models = [residual_mlp(2), residual_mlp(3)]
    turns = Turns(models, OPTIONS, known=known)
    told = [(value.name, value.shape) for value in turns[0].get_outputs()]
    expected = run(turns[0], {"x": X})[0]
    other = run(turns[1], {"x": X})[0]
    monkeypatch.setattr("graphprune.runtime.turns.open_session", None)
    later = Turns(models, OPTIONS, known=known)
    assert [(value.name, tuple(value.shape)) for value in later[0].get_outputs()] == [(n, tuple(s)) for n, s in told]
    np.testing.assert_array_equal(run(later[0], {"x": X})[0], expected)
    assert not np.array_equal(other, expected)
    with pytest.raises(TypeError):
        later[1]


def test_objects_have_no_bytes_to_be_known_by() -> None:
    class Echo:
        runs = 0

        def run(self, outputs: object, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
            Echo.runs += 1
            return [np.zeros(3)]

    asked = Remembering(Echo, KnownAnswers())
    for _ in range(2):
        asked.run(["y"], {"x": np.array(["a", "b"], object)})
    assert Echo.runs == 2
