"""Work on a stream of things side by side, with the answers in their order and few in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order(pool: Executor, work: Callable[[T], R], things: Iterable[T], at_once: int) -> Iterator[R]:
    """``work`` of each of ``things``; at most ``at_once`` are taken before the first answer is asked for."""
    rest = iter(things)
    pending: deque[Future[R]] = deque(pool.submit(work, thing) for thing in islice(rest, at_once))
    while pending:
        yield pending.popleft().result()
        pending.extend(pool.submit(work, thing) for thing in islice(rest, 1))
