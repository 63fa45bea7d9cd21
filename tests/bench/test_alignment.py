"""Which multiples of channels a machine likes, told from a made-up description of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphprune.bench import alignment
from graphprune.bench.alignment import multiple_for
from graphprune.runtime.sessions import RuntimeOptions


@pytest.mark.parametrize(
    ("content", "multiple"),
    [
        ("flags\t\t: fpu sse2 avx2 avx512f avx512dq\n", 16),
        ("flags\t\t: fpu sse2 avx2\n", 8),
        ("Features\t: fp asimd sve\n", 8),
        (None, 8),
    ],
    ids=["avx512", "avx2", "arm", "no such file"],
)
def test_multiple_for_the_processor(
    content: str | None, multiple: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cpuinfo"
    if content is not None:
        path.write_text(content)
    monkeypatch.setattr(alignment, "_CPU_INFO", path)
    assert multiple_for(RuntimeOptions()) == multiple


def test_tensor_cores_want_eight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the processor is."""
    (tmp_path / "cpuinfo").write_text("flags : avx512f\n")
    monkeypatch.setattr(alignment, "_CPU_INFO", tmp_path / "cpuinfo")
    assert multiple_for(RuntimeOptions(provider="cuda")) == 8
