"""Free memory is given back where the C library can, and nothing else happens where it cannot."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from graphprune.base.memory import give_back


class _Library:
    """A C library of another system."""


def test_a_library_that_has_no_word_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: _Library())
    give_back()


@pytest.mark.parametrize("error", [OSError, TypeError])
def test_a_system_that_has_no_such_library(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: Any) -> Any:
        raise error

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    give_back()


def test_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    library = _Library()
    library.malloc_trim = asked.append  # type: ignore[attr-defined]
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    give_back()
    assert asked == [0]
