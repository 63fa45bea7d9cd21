"""AMP's scores against their sums written out, streamed and masked, and its budget against LLaMA-2-7B."""

from __future__ import annotations

import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphprune.errors import DataError, OptionError
from graphprune.importance import projection
from graphprune.importance.budget import amp_counts
from graphprune.importance.projection import StreamedHeadProjection, StreamedNeuronProjection

seeds = st.integers(0, 2**32 - 1)


def activations(seed: int, b: int = 5, s: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Head outputs (B, S, 3, 4), W_O (3, 4, 10), mask (B, S) with at least one token each."""
    generator = np.random.default_rng(seed)
    mask = generator.random((b, s)) < 0.6
    mask[np.arange(b), generator.integers(0, s, b)] = True
    return generator.standard_normal((b, s, 3, 4)), generator.standard_normal((3, 4, 10)), mask


def test_one_head_by_hand() -> None:
    """Token 1 writes (1, -2) and token 2 writes (3, 4): (3 + 7) / 2."""
    scores = StreamedHeadProjection([[[1.0, -2.0], [3.0, 4.0]]])
    scores.update(np.array([[[[1.0, 0.0]], [[0.0, 1.0]]]]))
    np.testing.assert_allclose(scores.scores(), [5.0])


@given(seeds)
def test_heads_are_the_sum_written_out(seed: int) -> None:
    a, w, mask = activations(seed)
    scores = StreamedHeadProjection(w)
    scores.update(a, mask)
    expected = [
        np.mean([np.mean([np.abs(a[b, s, h] @ w[h]).sum() for s in np.flatnonzero(mask[b])]) for b in range(5)])
        for h in range(3)
    ]
    np.testing.assert_allclose(scores.scores(), expected, rtol=1e-5)


@given(seeds)
def test_neurons_are_the_sum_written_out(seed: int) -> None:
    a, _, mask = activations(seed)
    x = a.reshape(5, 6, 12)
    scores = StreamedNeuronProjection(12)
    scores.update(x, mask)
    expected = np.mean([np.abs(x[b, mask[b]]).mean(0) for b in range(5)], axis=0)
    np.testing.assert_allclose(scores.scores(), expected, rtol=1e-6)


@given(seeds, st.integers(1, 4))
def test_batches_do_not_matter(seed: int, cut: int) -> None:
    a, w, mask = activations(seed)
    heads, neurons = (
        (StreamedHeadProjection(w), StreamedHeadProjection(w)),
        (StreamedNeuronProjection(12), StreamedNeuronProjection(12)),
    )
    x = a.reshape(5, 6, 12)
    heads[0].update(a, mask)
    neurons[0].update(x, mask)
    for part in (slice(None, cut), slice(cut, None)):
        heads[1].update(a[part], mask[part])
        neurons[1].update(x[part], mask[part])
    np.testing.assert_allclose(heads[1].scores(), heads[0].scores(), rtol=1e-6)
    np.testing.assert_allclose(neurons[1].scores(), neurons[0].scores(), rtol=1e-12)
    assert heads[1].prompts == neurons[1].prompts == 5


def test_every_prompt_counts_once() -> None:
    """Nine tokens of 1 and one token of 3 make 2, not 1.2."""
    heads, neurons = StreamedHeadProjection(np.ones((1, 1, 1))), StreamedNeuronProjection(1)
    for length, value in ((9, 1.0), (1, 3.0)):
        heads.update(np.full((1, length, 1, 1), value))
        neurons.update(np.full((1, length, 1), value))
    np.testing.assert_allclose([*heads.scores(), *neurons.scores()], [2, 2])


def test_padding_is_ignored_whatever_it_holds() -> None:
    a, w, mask = activations(0)
    clean, padded = StreamedHeadProjection(w), StreamedHeadProjection(w)
    clean.update(a, mask)
    padded.update(np.where(mask[:, :, None, None], a, np.nan), mask.astype(np.int64))
    np.testing.assert_array_equal(padded.scores(), clean.scores())
    neurons, dirty = StreamedNeuronProjection(3), StreamedNeuronProjection(3)
    neurons.update(a[..., 0], mask)
    dirty.update(np.where(mask[:, :, None], a[..., 0], np.inf), mask)
    np.testing.assert_array_equal(dirty.scores(), neurons.scores())


@pytest.mark.parametrize("shape", [(5, 12), (5, 6, 12), (5, 2, 3, 12)])
def test_neurons_take_any_axes_between(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).standard_normal(shape)
    scores = StreamedNeuronProjection(12)
    scores.update(x)
    np.testing.assert_allclose(scores.scores(), np.abs(x).reshape(-1, 12).mean(0), rtol=1e-6)


@pytest.mark.parametrize("block", [1, 25, 10**6])
def test_blocks_do_not_matter(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    a, w, mask = activations(0)
    heads, neurons = StreamedHeadProjection(w), StreamedNeuronProjection(12)
    heads.update(a, mask)
    neurons.update(a.reshape(5, 6, 12), mask)
    monkeypatch.setattr(projection, "_BLOCK", block)
    blocked_heads, blocked_neurons = StreamedHeadProjection(w), StreamedNeuronProjection(12)
    blocked_heads.update(a, mask)
    blocked_neurons.update(a.reshape(5, 6, 12), mask)
    np.testing.assert_allclose(blocked_heads.scores(), heads.scores(), rtol=1e-5)
    np.testing.assert_allclose(blocked_neurons.scores(), neurons.scores(), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_does_not_spoil_sums(dtype: type) -> None:
    """Every token writes 256 * 320 = 81,920 in total: float16 would overflow, and bfloat16 stop growing."""
    scores = StreamedHeadProjection(np.full((1, 1, 256), 320).astype(dtype))
    scores.update(np.ones((1, 4, 1, 1)).astype(dtype))
    np.testing.assert_allclose(scores.scores(), [81_920])
    neurons = StreamedNeuronProjection(1)
    neurons.update(np.full((1, 1000, 1), 256).astype(dtype))
    np.testing.assert_allclose(neurons.scores(), [256])


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """(B, S, H, D) would take 64 MiB, and all magnitudes of the neurons 32 MiB."""
    monkeypatch.setattr(projection, "_BLOCK", 1 << 16)
    a, w = np.ones((2, 512, 16, 4), np.float32), np.ones((16, 4, 1024), np.float32)
    x = np.ones((2, 4096, 1024), np.float32)
    heads, neurons = StreamedHeadProjection(w), StreamedNeuronProjection(1024)
    for update, values in ((heads.update, a), (neurons.update, x)):
        tracemalloc.start()
        update(values)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2**20


def test_input_is_left_alone() -> None:
    a, w, _ = activations(0)
    a32, w32 = a.astype(np.float32), w.astype(np.float32)
    before, x = a32.copy(), a32.reshape(5, 6, 12)
    heads, neurons = StreamedHeadProjection(w32), StreamedNeuronProjection(12)
    heads.update(a32)
    neurons.update(x)
    np.testing.assert_array_equal(a32, before)
    np.testing.assert_array_equal(w32, w.astype(np.float32))
    assert heads.scores().dtype == neurons.scores().dtype == np.float64


def test_refuses() -> None:
    a, w, mask = activations(0)
    heads, neurons = StreamedHeadProjection(w), StreamedNeuronProjection(12)
    with pytest.raises(DataError, match=r"W_O has shape \(12, 10\)"):
        StreamedHeadProjection(w.reshape(12, 10))
    with pytest.raises(DataError, match="no prompts to score heads by"):
        heads.scores()
    with pytest.raises(DataError, match=r"not \(B, S, 3, 4\)"):
        heads.update(a[:, :, :2])
    with pytest.raises(DataError, match=r"not \(B, ..., 12\)"):
        neurons.update(a)
    with pytest.raises(DataError, match=r"mask has shape \(5,\), not \(5, 6\)"):
        heads.update(a, mask[:, 0])
    mask[3] = False
    with pytest.raises(DataError, match="prompt 3 has no valid token"):
        heads.update(a, mask)
    with pytest.raises(DataError, match="heads are not finite"):
        heads.update(a * np.nan)
    with pytest.raises(DataError, match="no prompts"):
        heads.scores()  # what was refused has not been counted


# Source: methods.md section 5, "Budget": LLaMA-2-7B.
LAYERS, HEADS, NEURONS, TOTAL, LAYER = 32, 32, 11008, 6_738_415_616, 202_383_360
HEAD_PARAMS, NEURON_PARAMS = 4 * 128 * 4096, 3 * 4096
PRUNABLE = LAYERS * (HEADS * HEAD_PARAMS + NEURONS * NEURON_PARAMS)


@pytest.mark.parametrize(
    ("k", "heads", "neurons", "percent"),
    [(1, 1, 344, 3.0033), (5, 5, 1720, 15.0165), (10, 10, 3440, 30.0330), (13, 13, 4472, 39.0430)],
)
def test_counts_of_llama_2_7b(k: int, heads: int, neurons: int, percent: float) -> None:
    """The ratio leaves whole heads here, so the two rules differ by at most the one neuron that makes up for it."""
    fraction = k * LAYER / PRUNABLE
    released = amp_counts(HEADS, NEURONS, HEAD_PARAMS, NEURON_PARAMS, fraction, "released")
    assert released == (heads, neurons)
    removed = LAYERS * (heads * HEAD_PARAMS + neurons * NEURON_PARAMS)
    assert removed == {1: 202_375_168, 10: 2_023_751_680}.get(k, removed)
    assert 100 * removed / TOTAL == pytest.approx(percent, abs=5e-5)
    exact = amp_counts(HEADS, NEURONS, HEAD_PARAMS, NEURON_PARAMS, fraction)
    assert exact.heads == heads
    assert abs(exact.neurons - neurons) <= 1


@given(st.floats(0.02, 0.9))
def test_exact_is_within_half_a_neuron(fraction: float) -> None:
    n_h, n_m = amp_counts(HEADS, NEURONS, HEAD_PARAMS, NEURON_PARAMS, fraction)
    missed = fraction * PRUNABLE / LAYERS - (n_h * HEAD_PARAMS + n_m * NEURON_PARAMS)
    assert abs(missed) <= NEURON_PARAMS / 2 * (1 + 1e-9)


def test_released_may_miss_by_half_a_head() -> None:
    """rho H = 4.5 rounds to 4 heads; the half head left over becomes half a neuron instead of 85."""
    fraction = 4.5 / HEADS
    assert amp_counts(HEADS, NEURONS, HEAD_PARAMS, NEURON_PARAMS, fraction, "released") == (4, 1548)  # 1548.5, to even
    assert amp_counts(HEADS, NEURONS, HEAD_PARAMS, NEURON_PARAMS, fraction) == (4, 1633)  # 1548 + 85.33


def test_heads_round_up_too() -> None:
    fraction = 4.75 / HEADS  # 1634 neurons and a quarter of a head too much
    assert amp_counts(HEADS, NEURONS, HEAD_PARAMS, NEURON_PARAMS, fraction, "released") == (5, 1634)
    assert amp_counts(HEADS, NEURONS, HEAD_PARAMS, NEURON_PARAMS, fraction) == (5, 1591)  # 1634 - 42.67


def test_no_neuron_makes_up_for_a_head_too_much() -> None:
    assert amp_counts(2, 10, 1000, 1, 0.3) == (1, 0)


@given(
    st.integers(1, 64),
    st.integers(1, 5000),
    st.integers(1, 10**7),
    st.integers(1, 10**5),
    st.floats(0, 1, exclude_max=True),
    st.sampled_from(["exact", "released"]),
)
def test_counts_leave_one_of_each(
    h: int, i: int, per_head: int, per_neuron: int, fraction: float, variant: str
) -> None:
    counts = amp_counts(h, i, per_head, per_neuron, fraction, variant)  # type: ignore[arg-type]
    assert 0 <= counts.heads < h
    assert 0 <= counts.neurons < i


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 30.0, float("nan")])
def test_counts_refuse(fraction: float) -> None:
    with pytest.raises(OptionError, match="of its parameters"):
        amp_counts(HEADS, NEURONS, HEAD_PARAMS, NEURON_PARAMS, fraction)
