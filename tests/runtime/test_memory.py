"""Freed memory goes back to the system, and where that cannot be asked for nothing happens."""

from __future__ import annotations

import ctypes

import pytest

from graphprune.runtime.memory import trim


def test_the_c_library_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Library:
        def __init__(self, name: str) -> None:
            self.malloc_trim = asked.append

    monkeypatch.setattr(ctypes, "CDLL", Library)
    trim()
    assert asked == [0]


@pytest.mark.parametrize("error", [OSError, AttributeError])
def test_another_c_library(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def missing(name: str) -> None:
        raise error(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    trim()
