"""Slice norms against NumPy's own, in every type weights come in, and in blocks."""

from __future__ import annotations

import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphprune.importance import magnitude
from graphprune.importance.magnitude import Order, combine, slice_norms

seeds = st.integers(0, 2**32 - 1)
orders = st.sampled_from([1, 2])


def test_by_hand() -> None:
    w = np.array([[3, -4, 0], [-1, 1, 2]], np.float32)
    np.testing.assert_array_equal(slice_norms(w, 0, 1), [7, 4])
    np.testing.assert_array_equal(slice_norms(w, 0, 2), [25, 6])
    np.testing.assert_array_equal(slice_norms(w, -1, 1), [4, 5, 2])
    np.testing.assert_array_equal(combine([slice_norms(w, 0, 2)], 2), [5, np.sqrt(6)])


@given(seeds, st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(0, 3), orders)
def test_equals_numpys_norm(seed: int, shape: list[int], axis: int, order: Order) -> None:
    w = np.random.default_rng(seed).standard_normal(shape)
    axis %= w.ndim
    rows = np.moveaxis(w, axis, 0).reshape(shape[axis], -1)
    np.testing.assert_allclose(
        combine([slice_norms(w, axis, order)], order), np.linalg.norm(rows, order, 1), rtol=1e-12
    )


@given(seeds, st.integers(1, 40), st.integers(0, 2), orders)
def test_blocks_do_not_matter(seed: int, block: int, axis: int, order: Order) -> None:
    """Every axis is cut, down to single weights, C order or not."""
    w = np.random.default_rng(seed).standard_normal((5, 4, 3)).transpose(2, 0, 1)
    whole = slice_norms(w, axis, order)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(magnitude, "_BLOCK", block)
        np.testing.assert_allclose(slice_norms(w, axis, order), whole, rtol=1e-12)


@given(seeds, orders)
def test_groups_add_up(seed: int, order: Order) -> None:
    """A filter's own weights, its bias and its inputs of the next layer: the norm of all of them in a row."""
    generator = np.random.default_rng(seed)
    own, bias, following = (generator.standard_normal(shape) for shape in ((6, 3, 2), (6,), (4, 6)))
    parts = [slice_norms(own, 0, order), slice_norms(bias, 0, order), slice_norms(following, 1, order)]
    rows = np.hstack([own.reshape(6, -1), bias[:, None], following.T])
    np.testing.assert_allclose(combine(iter(parts), order), np.linalg.norm(rows, order, 1), rtol=1e-12)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.int8, np.uint8])
def test_sums_in_float64(dtype: type, order: Order) -> None:
    """100,000 times 100: float16 would overflow, bfloat16 stop growing and int8 wrap around."""
    w: np.ndarray = np.full((2, 100_000), 100).astype(dtype)
    before = w.copy()
    sums = slice_norms(w, 0, order)
    np.testing.assert_array_equal(sums, np.full(2, 100_000 * 100.0**order))
    np.testing.assert_array_equal(w, before)
    assert sums.dtype == np.float64


def test_lowest_integer_has_a_magnitude() -> None:
    np.testing.assert_array_equal(slice_norms(np.array([-128], np.int8), 0, 1), [128])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_memory_is_bounded(axis: int) -> None:
    """64 MiB of float16 weights would take 256 MiB as float64."""
    w = np.ones((1, 4096, 8192), np.float16)
    tracemalloc.start()
    slice_norms(w, axis, 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 24 * 2**20


def test_not_a_number_shows() -> None:
    sums = slice_norms(np.array([[1, np.nan], [1, 1]]), 0, 1)
    np.testing.assert_array_equal(sums, [np.nan, 2])


def test_empty_slices_have_no_size() -> None:
    np.testing.assert_array_equal(slice_norms(np.zeros((3, 0)), 0, 1), np.zeros(3))


def test_no_such_axis() -> None:
    with pytest.raises(IndexError):
        slice_norms(np.zeros((3, 2)), 2, 1)
