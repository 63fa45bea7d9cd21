"""Widths that a runtime likes: multiples of what its kernels work on at once."""

from __future__ import annotations

from pathlib import Path

from graphprune.runtime.sessions import RuntimeOptions

_CPU_INFO = Path("/proc/cpuinfo")
WHOLE_KINDS = ("heads", "kv-heads", "query-heads", "conv-groups")
"""Groups whose counts no kernel wants in multiples."""


def multiple_for(options: RuntimeOptions) -> int:
    """Multiple to which kept widths are rounded.

    ONNX Runtime's CPU convolutions work on blocks of 16 channels with AVX-512 and of 8 without, and fall back to slower
    code for other widths; tensor cores want multiples of 8.
    """
    if options.provider_name != "CPUExecutionProvider":
        return 8
    try:
        has_avx512 = "avx512f" in _CPU_INFO.read_text()
    except OSError:
        has_avx512 = False
    return 16 if has_avx512 else 8


def narrowed(multiple: int, size: int) -> int:
    """A half, a quarter ... of ``multiple`` for a group of few units.

    A group must have two steps at least, or the first layers of a small network could not shrink at all.
    """
    while multiple > 1 and size < 2 * multiple:
        multiple //= 2
    return multiple
