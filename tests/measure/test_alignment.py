"""Which multiples of channels a runtime likes, told from the time that widths take."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from graphprune.measure import alignment
from graphprune.measure.alignment import best_multiple, multiple_for
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


def test_a_step_that_saves_less_than_half_of_its_width_is_not_taken() -> None:
    """Blocks of eight that are a little cheaper than sixteen are no reason to leave a kernel's block."""
    times = {width: 10.0 + (width if width % 16 == 0 else width + 16 - width % 16 - 2) for width in range(33, 81)}
    assert best_multiple(times) == 16


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(("block", "timed"), [(8, [12]), (4, [12, 36])], ids=["eight", "four"])
def test_measured_once_and_kept(block: int, timed: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files hold the times, the process the answer; another runtime is measured anew.
    Odd widths wait for a reason.
    """
    calls: list[RuntimeOptions] = []
    staircases = [staircase(block, 1.5, seed) for seed in range(100)]

    def made_up(models: list[tuple[onnx.ModelProto, object]], options: RuntimeOptions, openings: int) -> list[float]:
        calls.append(options)
        return [staircases[len(calls)][model.graph.initializer[0].dims[0]] for model, _ in models]

    monkeypatch.setattr(alignment, "times_ms", made_up)
    assert multiple_for(ONE, tmp_path) == multiple_for(ONE, tmp_path) == block
    once = len(calls)
    assert set(calls) == {ONE}
    kept = [json.loads(path.read_text())["times_ms"] for path in (tmp_path / "latency").iterdir()]
    assert sorted(map(len, kept)) == timed
    alignment._measured.cache_clear()
    assert multiple_for(ONE, tmp_path) == block
    assert len(calls) == once
    two = RuntimeOptions(threads=2)
    assert multiple_for(two, tmp_path) == block
    assert calls[once:] == [two] * once


@pytest.mark.usefixtures("fresh")
def test_this_machine_has_an_answer(tmp_path: Path) -> None:
    """Whichever it is; every width took some time, and wider ones took longer."""
    assert multiple_for(ONE, tmp_path) in (1, 2, 4, 8, 16)
    for kept in (tmp_path / "latency").iterdir():
        times = {int(width): ms for width, ms in json.loads(kept.read_text())["times_ms"].items()}
        assert min(times.values()) > 0
        assert np.polyfit(list(times), list(times.values()), 1)[0] > 0


@pytest.mark.parametrize("provider", ["cuda", "cuda:1", "trt"])
def test_tensor_cores_want_eight(provider: str) -> None:
    """Nothing is measured: small convolutions on a GPU are bound by launches."""
    assert multiple_for(RuntimeOptions(provider=provider)) == 8
