"""A regression on few rows is the one on their sums."""

from __future__ import annotations

import numpy as np
import pytest

from graphprune.data.dataset import load_data
from graphprune.repair.gram import HalvedSums
from graphprune.repair.kept_rows import HalvedRows
from graphprune.repair.outcome import LayerRepair
from graphprune.repair.ridge import Fit, refit
from graphprune.repair.stage import repair
from tests.graphs import build
from tests.repair.nets import correlated
from tests.repair.story import ONE_THREAD, Story, images, story

INPUTS, OUTPUTS, SAMPLES = 40, 5, 6
MATRIX = np.random.default_rng(1).standard_normal((1, INPUTS, OUTPUTS)) / 6
SHIFT = np.random.default_rng(2).standard_normal((1, OUTPUTS))


def shown(sums: HalvedSums, rows: int) -> HalvedSums:
    """So many rows of each sample, in two batches, with inputs of unlike size."""
    random = np.random.default_rng(0)
    x = random.standard_normal((SAMPLES * rows, 1, INPUTS)) * np.linspace(0.2, 2, INPUTS) + 0.5
    t = x @ (MATRIX[0] + 0.3 * random.standard_normal((INPUTS, OUTPUTS))) + 1.0
    for start in (0, len(x) // 3):
        part = slice(start, len(x) // 3 if start == 0 else None)
        sums.add(x[part].astype(np.float32), t[part].astype(np.float32), SAMPLES // 3 * (1 if start == 0 else 2))
    return sums


@pytest.mark.parametrize("with_shift", [True, False])
@pytest.mark.parametrize("per_input", [True, False])
@pytest.mark.parametrize("alive", [None, np.array([[True, False, True, True, False]])])
@pytest.mark.parametrize("variation", [None, 30.0])
def test_the_same_from_rows(
    with_shift: bool, per_input: bool, alive: np.ndarray | None, variation: float | None
) -> None:
    def fit(sums: HalvedSums) -> Fit:
        how = {"with_shift": with_shift, "per_input": per_input, "alive": alive, "variation": variation}
        return refit(sums, MATRIX, SHIFT, **how)  # type: ignore[arg-type]

    kept, summed = HalvedRows(1, INPUTS, OUTPUTS), HalvedSums(1, INPUTS, OUTPUTS)
    found, expected = fit(shown(kept, 3)), fit(shown(summed, 3))
    assert kept.rows() is not None
    assert found.penalty == expected.penalty < np.inf
    np.testing.assert_allclose(found.matrix, expected.matrix, atol=2e-4)
    np.testing.assert_allclose(found.shift, expected.shift, atol=2e-4)
    np.testing.assert_allclose([found.before, found.after], [expected.before, expected.after], rtol=1e-4)
    if alive is not None:
        np.testing.assert_array_equal(found.matrix[..., ~alive[0]], MATRIX[..., ~alive[0]])


def test_many_rows_are_summed() -> None:
    kept, summed = (shown(kind(1, INPUTS, OUTPUTS), 20) for kind in (HalvedRows, HalvedSums))
    assert isinstance(kept, HalvedRows)
    assert kept.rows() is None
    for mine, theirs in zip(kept.halves, summed.halves, strict=True):
        assert mine.n == theirs.n
        np.testing.assert_allclose(mine.xx, theirs.xx, rtol=1e-5)
        np.testing.assert_allclose(mine.xt, theirs.xt, rtol=1e-4, atol=1e-3)


def test_the_sums_of_kept_rows_are_there_when_asked_for() -> None:
    kept, summed = (shown(kind(1, INPUTS, OUTPUTS), 2).whole for kind in (HalvedRows, HalvedSums))
    np.testing.assert_allclose(kept.xx, summed.xx, rtol=1e-5)
    assert kept.n == summed.n


def test_one_half_alone_judges_nothing() -> None:
    def fit(sums: HalvedSums) -> Fit:
        rows = np.random.default_rng(0).standard_normal((3, 1, INPUTS)).astype(np.float32)
        sums.add(rows, np.ones((3, 1, OUTPUTS), np.float32), 1)
        return refit(sums, MATRIX, SHIFT, with_shift=True, variation=1.0)

    found, expected = (fit(kind(1, INPUTS, OUTPUTS)) for kind in (HalvedRows, HalvedSums))
    assert found.penalty == np.inf
    assert found.before == found.after == pytest.approx(expected.before, rel=1e-5)
    assert found.before > 0


WIDE = """(float[N,3,6,6] x) => (float[N,5] y) {
    [first] a = Conv<pads = [1, 1, 1, 1]>(x, w0) [act] b = Relu(a)
    [flat] f = Flatten(b) [dense] y = Gemm(f, w1, b1) }"""


def outcome(net: Story, samples: int | None, limit_bytes: int) -> LayerRepair:
    """Of the dense layer, by ``ridge`` alone."""
    model, data = net.original.model, load_data(net.feeds, net.original.model, samples)
    small, sizes = net.small.model, net.small.sizes
    _, report = repair(model, small, net.steps, sizes, data, 16, ["ridge"], ONE_THREAD, lambda *_: None, limit_bytes)
    (layer,) = (layer for layer in report.layers if layer.layer == "dense")
    return layer


@pytest.mark.parametrize(("samples", "is_kept"), [(24, True), (200, True), (300, False), (None, False)])
def test_a_dense_layer_too_wide_for_its_sums_is_refitted_from_few_samples(samples: int | None, is_kept: bool) -> None:
    """216 inputs, whose products would be too many for the memory allowed."""
    proto = build(WIDE, {"w0": (8, 3, 3, 3), "w1": (8 * 36, 5), "b1": (5,)})
    feeds = {"x": np.concatenate([correlated(60, seed=seed)["x"] for seed in range(4)])[..., :6, :6]}
    net = story(proto, feeds).cut("first", [1, 4])
    small = outcome(net, samples, 500_000)
    assert small.is_kept == is_kept
    assert is_kept or small.note == "its inputs are too many for the memory allowed"
    if is_kept:
        assert small.after == pytest.approx(outcome(net, samples, 1 << 30).after, rel=1e-3)
        assert small.after < 0.8 * small.before


@pytest.mark.parametrize(("samples", "is_kept"), [(100, True), (120, False)])
def test_what_a_sample_gives_several_rows_of_is_counted_by_rows(samples: int, is_kept: bool) -> None:
    """216 inputs again, and two rows of each sample."""
    proto = build(
        """(float[N,2,12] x) => (float[N,2,5] y) { r = Reshape(x, flat) [first] a = Gemm(r, w0) [act] b = Relu(a)
        [dense] c = Gemm(b, w1, b1) y = Reshape(c, back) }""",
        {"w0": (12, 240), "w1": (240, 5), "b1": (5,), "flat": np.array([-1, 12]), "back": np.array([-1, 2, 5])},
    )
    net = story(proto, images(240, (2, 12))).cut("first", range(24))
    assert outcome(net, samples, 500_000).is_kept == is_kept
