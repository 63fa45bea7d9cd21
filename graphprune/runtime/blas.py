"""How many threads BLAS may take: one where matrices are narrow or sums must not depend on the number of cores,
else as many as the user allows.

BLAS splits products by threads, and rounds by how it split them. Between two products its threads wait busily: systems
of a few hundred unknowns take two threads several times the processor time of one, and longer.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from threadpoolctl import threadpool_limits

WIDE = 1024
"""Rows of a square matrix from which several threads gain more than they cost."""

_lock = threading.Lock()
_inside = 0
_limits: Any = None


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS with one thread in this process; the last of several threads to leave puts things back."""
    global _inside, _limits
    with _lock:
        _inside += 1
        if _inside == 1:
            _limits = threadpool_limits(1, user_api="blas")
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _limits.restore_original_limits()


@contextmanager
def blas_threads(count: int) -> Iterator[None]:
    """BLAS with at most ``count`` threads; left to itself it takes every core,
    and several runs side by side then spin for hours.
    """
    with threadpool_limits(count, user_api="blas"):
        yield


def threads_for(width: int, allowed: int) -> int:
    """How many of the ``allowed`` threads serve products and systems of so many rows."""
    return allowed if width >= WIDE else 1
