"""Which multiples of channels a runtime likes, told from the time that widths take."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from graphprune.bench import alignment
from graphprune.bench.alignment import best_multiple, multiple_for
from graphprune.runtime.sessions import RuntimeOptions

ONE = RuntimeOptions(threads=1)


def staircase(block: int, penalty: float, seed: int, noise: float = 0.02) -> dict[int, float]:
    """Whole blocks take their time, other widths ``penalty`` times that of their number of blocks."""
    rng = np.random.default_rng(seed)
    widths = range(33, 81)
    blocks = {width: -(-width // block) * block for width in widths}
    return {
        width: (10 + blocks[width] * (1 if blocks[width] == width else penalty)) * (1 + noise * rng.random())
        for width in widths
    }


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("block", "penalty", "multiple"),
    [(16, 1.3, 16), (16, 1.0, 16), (8, 1.2, 8), (4, 1.2, 4), (1, 1.0, 1)],
    ids=["AVX-512", "padded to blocks", "blocks of eight", "blocks of four", "any width"],
)
def test_the_step_of_a_staircase(block: int, penalty: float, multiple: int, seed: int) -> None:
    assert best_multiple(staircase(block, penalty, seed)) == multiple


@pytest.fixture
def fresh() -> None:
    alignment._measured.cache_clear()


@pytest.mark.usefixtures("fresh")
def test_measured_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file holds the times, the process the answer; another runtime is measured anew."""
    calls = []

    def made_up(models: list[object], options: RuntimeOptions) -> list[float]:
        calls.append(options)
        return list(staircase(4, 1.5, 0).values())

    monkeypatch.setattr(alignment, "times_ms", made_up)
    assert multiple_for(ONE, tmp_path) == multiple_for(ONE, tmp_path) == 4
    assert calls == [ONE]
    (kept,) = (tmp_path / "latency").iterdir()
    assert len(json.loads(kept.read_text())["times_ms"]) == 48
    alignment._measured.cache_clear()
    assert multiple_for(ONE, tmp_path) == 4
    assert calls == [ONE]
    two = RuntimeOptions(threads=2)
    assert multiple_for(two, tmp_path) == 4
    assert calls == [ONE, two]


@pytest.mark.usefixtures("fresh")
def test_this_machine_has_an_answer(tmp_path: Path) -> None:
    """Whichever it is; every width took some time, and wider ones took longer."""
    assert multiple_for(ONE, tmp_path) in (1, 2, 4, 8, 16)
    (kept,) = (tmp_path / "latency").iterdir()
    times = {int(width): ms for width, ms in json.loads(kept.read_text())["times_ms"].items()}
    assert min(times.values()) > 0
    assert np.polyfit(list(times), list(times.values()), 1)[0] > 0


@pytest.mark.parametrize("provider", ["cuda", "cuda:1", "trt"])
def test_tensor_cores_want_eight(provider: str) -> None:
    """Nothing is measured: small convolutions on a GPU are bound by launches."""
    assert multiple_for(RuntimeOptions(provider=provider)) == 8
