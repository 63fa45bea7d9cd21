"""Even samples to fit, odd ones to judge, however the source cuts them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from graphprune.data.dataset import Data, load_data
from graphprune.errors import DataError
from graphprune.ir.loading import load
from graphprune.pass_infra.joint.split import split
from tests.graphs import build

MODEL = load(build("(float[N,2] x) => (float[N,1] y) { [fc] y = MatMul(x, w) }", {"w": (2, 1)}))


def rows(count: int) -> np.ndarray:
    return np.repeat(np.arange(count, dtype=np.float32)[:, None], 2, axis=1)


def seen(data: Data, batch: int) -> list[int]:
    return [int(row[0]) for part in data.batches(batch) for row in part.feeds["x"]]


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 20])
@pytest.mark.parametrize("samples", [8, 9, 100])
def test_two_parts_of_the_first_samples(chunk: int, samples: int) -> None:
    whole = rows(19)

    class Reader:
        def __iter__(self) -> Iterator[np.ndarray]:
            return (whole[start : start + chunk] for start in range(0, 19, chunk))

    fit, held_out = split(load_data(Reader(), MODEL, 15), samples)
    most = min(15, samples)
    for _ in range(2):  # each can be read again
        assert seen(fit, 4) == list(range(0, most, 2))
        assert seen(held_out, 3) == list(range(1, most, 2))
    assert (fit.limit, held_out.limit) == ((most + 1) // 2, most // 2)


def test_labels_go_with_their_samples() -> None:
    data = load_data({"x": rows(6), "labels": np.arange(6)}, MODEL)
    for part, first in zip(split(data, 6), (0, 1), strict=True):
        (batch,) = part.batches(8)
        assert batch.labels is not None
        np.testing.assert_array_equal(batch.labels, np.arange(first, 6, 2))


def test_arrays_that_do_not_fit_are_refused_as_ever() -> None:
    fit, _ = split(load_data({"x": rows(6), "labels": np.arange(5)}, MODEL), 6)
    with pytest.raises(DataError, match="differ in their number of samples"):
        list(fit.batches(2))
