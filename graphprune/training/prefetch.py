"""The next batches made ready while the present one is worked on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")

_PATIENCE_SECONDS = 0.1  # how long the thread waits before it looks whether anybody still listens


def prefetched(items: Iterator[T], prepare: Callable[[T], U], depth: int = 2) -> Generator[U, None, None]:
    """``prepare(item)`` for each item, in order, at most ``depth`` of them made ready in advance by one thread.

    What ``items`` or ``prepare`` raise is raised here. The thread ends with the iterator, however that ends.
    """
    ready: queue.Queue[tuple[U | None, BaseException | None]] = queue.Queue(depth)
    is_over = threading.Event()

    def put(entry: tuple[U | None, BaseException | None]) -> None:
        while not is_over.is_set():
            with suppress(queue.Full):
                ready.put(entry, timeout=_PATIENCE_SECONDS)
                return

    def work() -> None:
        try:
            for item in items:
                if is_over.is_set():
                    return
                put((prepare(item), None))
            put((None, StopIteration()))
        except BaseException as error:  # noqa: BLE001 - handed over, whatever it is
            put((None, error))

    thread = threading.Thread(target=work, name="graphprune-ahead", daemon=True)
    thread.start()
    try:
        while True:
            prepared, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield prepared  # type: ignore[misc]  # without an error there is one
    finally:
        is_over.set()
        thread.join()
