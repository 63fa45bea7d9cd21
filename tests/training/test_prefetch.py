"""Batches made ready in advance: the same ones in the same order, errors where they belong, no thread left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

pytest.importorskip("torch")

from graphprune.training.prefetch import prefetched


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "graphprune-ahead"]


def test_all_come_in_order() -> None:
    assert list(prefetched(iter(range(50)), lambda n: 2 * n)) == list(range(0, 100, 2))
    assert not threads()


def test_no_more_than_asked_are_made_in_advance() -> None:
    made: list[int] = []

    def noted(number: int) -> int:
        made.append(number)
        return number

    stream = prefetched(iter(range(100)), noted, depth=2)
    assert next(stream) == 0
    stream.close()
    assert len(made) <= 5  # one taken, two waiting, one in hand, one that followed at once
    assert not threads()


def test_errors_come_after_what_was_well() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    stream = prefetched(broken(), lambda n: n)
    assert next(stream) == 1
    with pytest.raises(ValueError, match="no more"):
        next(stream)
    with pytest.raises(ZeroDivisionError):
        list(prefetched(iter([0]), lambda n: 1 // n))
    assert not threads()
