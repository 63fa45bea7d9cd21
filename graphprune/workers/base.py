"""What all workers have in common: items go out, results come back in order, and what is lost is done again."""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import graphprune
from graphprune.errors import RuntimeMissing
from graphprune.workers.facts import Facts, check_versions, facts

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")

_ATTEMPTS = 2


class Lost(Exception):
    """Results that will not come: a worker died. The message says what happened."""


class Workers(ABC):
    """Workers of one kind. ``notes`` tell the user what happened to them;
    ``are_remote`` that they may be on other machines.
    """

    are_remote: ClassVar[bool]

    def __init__(self) -> None:
        self.notes: dict[str, None] = {}
        self._facts = facts()
        self._shared: Any = None
        self._parallel: Any = None  # joblib's, between _begin and _end; _there is what the workers know as ``shared``
        self._there: Any = None

    @property
    @abstractmethod
    def count(self) -> int:
        """How many items are worked on at once."""

    def threads(self, total: int) -> int:
        """How many of this process's ``total`` threads an item gets."""
        return 1 if self.are_remote else max(1, total // self.count)

    def map(self, work: Callable[[Shared, Item], Result], shared: Shared, items: Sequence[Item]) -> list[Result]:
        """``[work(shared, item) for item in items]``.

        ``shared`` travels once for as long as calls bring the same object. Items whose worker died are tried again,
        and then done by this process.

        Raises
        ------
        RuntimeMissing
            A worker lacks graphprune, or has another version of something that matters.
        """
        calls = [(work, item) for item in items]
        for _ in range(_ATTEMPTS):
            try:
                if self._shared is not shared:
                    self._drop()
                    self._begin(shared)
                    self._shared = shared
                answers = self._send(calls)
            except Lost as loss:
                self.notes[f"{loss}; nothing is lost: what it had not finished was worked out again"] = None
                self._drop()
            except (ImportError, AttributeError) as error:  # what unpickling raises where code is missing
                raise RuntimeMissing(
                    f"a worker cannot load graphprune as it is here ({error})",
                    f"run on the workers: pip install 'graphprune[cpu]=={graphprune.__version__}'",
                ) from None
            else:
                self._compare([each.facts for each in answers])
                return [each.result() for each in answers]
        return [work(shared, item) for item in items]

    def close(self) -> None:
        """Let the workers go."""
        self._drop()

    def _drop(self) -> None:
        self._end()
        self._shared = None

    @abstractmethod
    def _begin(self, shared: Any) -> None:
        """Take ``shared`` to the workers: make ``_parallel`` and ``_there``."""

    @abstractmethod
    def _send(self, calls: Sequence[tuple[Callable[..., Any], Any]]) -> list[Answer]:
        """What :func:`answer` says to each of ``calls``, with what :meth:`_begin` took there.

        Raises
        ------
        Lost
            A worker died, and its results with it.
        """

    def _end(self) -> None:
        """Undo :meth:`_begin`, be there workers left or not."""
        if self._parallel is not None:
            self._parallel.__exit__(None, None, None)
        self._parallel = self._there = None

    def _compare(self, workers: Sequence[Facts]) -> None:
        for other in dict.fromkeys(worker.processor for worker in workers):
            if other != self._facts.processor:
                self.notes[
                    f"some scores come from another kind of processor ({other}; here {self._facts.processor}): "
                    "they may differ from a run on this machine in the last digits"
                ] = None


@dataclass(frozen=True)
class Answer:
    """Of a worker: who it is, and a result or an error of the work's own
    (one that is raised comes from the way there).
    """

    facts: Facts
    value: Any = None
    error: Exception | None = None

    def result(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.value


def answer(caller: Facts, work: Callable[[Any, Any], Any], shared: Any, item: Any) -> Answer:
    """What a worker does: it makes sure that it is like the caller, and works."""
    mine = facts()
    try:
        check_versions(mine, caller)
        return Answer(mine, work(shared, item))
    except Exception as error:  # noqa: BLE001 - it is raised again at the caller's
        error.add_note(f"at a worker on {mine.host}: {traceback.format_exc()}")
        return Answer(mine, error=error)
