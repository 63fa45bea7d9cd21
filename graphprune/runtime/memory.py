"""Give freed memory back to the system: the C library keeps it, and each session of a large model leaves more."""

from __future__ import annotations

import contextlib
import ctypes


def trim() -> None:
    """Return freed memory to the system, where the C library is glibc; elsewhere nothing happens."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
