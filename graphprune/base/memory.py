"""Memory that is free, but not the system's yet."""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Let the C library return what it keeps for later; where it has no word for that (not glibc), it stays.

    It keeps blocks of up to 32 MB, and of those the weights of a closed session are made.
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return
    trim(0)
