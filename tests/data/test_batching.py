"""Samples cut and joined along the axis that counts them, whichever that is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from graphprune.data.batching import Arrays, Batch, Batching
from graphprune.data.dataset import load_data
from graphprune.errors import DataError
from graphprune.ir.loading import load
from graphprune.ir.model import Model
from tests.graphs import build

STREAM = Batching({"x": 0, "state": 1, "rate": None})
GRAPHS = Batching({"x": None, "edges": None}, 1)


def stream(samples: int, rate: float = 1.0, first: int = 0) -> Arrays:
    numbers = np.arange(first, first + samples, dtype=np.float32)
    x, state = np.repeat(numbers[:, None], 3, 1), np.tile(numbers[None, :, None], (2, 1, 4))
    return {"x": x, "state": state, "rate": np.array(rate, np.float32)}


def stream_model() -> Model:
    text = """(float[N,3] x, float[2,N,4] state, float rate) => (float[N,3] y, float[2,N,4] z) {
        y = Mul(x, rate)
        z = Relu(state)
    }"""
    return load(build(text))


def numbers(batch: Batch) -> list[float]:
    """Which samples these are, the same by both inputs that count them."""
    assert batch.feeds["x"][:, 0].tolist() == batch.feeds["state"][1, :, 3].tolist()
    return [float(number) for number in batch.feeds["x"][:, 0]]


def test_every_input_is_cut_along_its_own_axis() -> None:
    feeds = stream(5)
    assert STREAM.count(feeds) == 5
    part = STREAM.pick(feeds, slice(1, 3))
    assert [part[name].shape for name in feeds] == [(2, 3), (2, 2, 4), ()]
    assert numbers(Batch(STREAM.pick(feeds, np.array([4, 0])), None, STREAM)) == [4, 0]
    assert numbers(Batch(STREAM.resized(stream(2), 5), None, STREAM)) == [0, 1, 0, 1, 0]
    again = STREAM.join([part, STREAM.pick(feeds, np.arange(5) > 3)])
    assert numbers(Batch(again, None, STREAM)) == [1, 2, 4]


def test_rows_and_back() -> None:
    feeds = stream(3, rate=7.0)
    rows = STREAM.rows(feeds)
    assert [rows[name].shape for name in feeds] == [(3, 3), (3, 2, 4), (3,)]
    back = STREAM.from_rows(rows)
    for name, array in feeds.items():
        np.testing.assert_array_equal(back[name], array)
    with pytest.raises(DataError, match="differ in input 'rate'"):
        STREAM.from_rows(rows | {"rate": np.arange(3.0)})


def test_what_serves_all_samples_must_be_the_same() -> None:
    assert STREAM.fit_together(stream(2), stream(3, first=2))
    assert not STREAM.fit_together(stream(2), stream(3, rate=2.0))
    with pytest.raises(DataError, match="differ in shape, or in an input that serves all"):
        STREAM.join([stream(2), stream(3, rate=2.0)])


def test_where_nothing_counts_samples_each_run_is_one() -> None:
    run: Arrays = {"x": np.zeros((5, 4), np.float32), "edges": np.zeros((2, 9), np.int64)}
    assert GRAPHS.count(run) == len(Batch(run, None, GRAPHS)) == 1
    assert len(Batch(run, None, GRAPHS).pick(slice(1, 2))) == 0
    assert not GRAPHS.counts_samples
    assert GRAPHS.free().size == 1
    assert Batching({"x": 0}, 4).free().size is None


def forms(folder: Path) -> dict[str, Any]:
    """Six samples, five with one rate and one with another."""
    parts = [stream(3), stream(2, first=3), stream(1, rate=2.0, first=5)]
    (folder / "npz").mkdir()
    for number, part in enumerate(parts):
        np.savez(folder / "npz" / f"{number}.npz", **part)  # type: ignore[arg-type,unused-ignore]
        one = folder / "sets" / f"test_data_set_{number}"
        one.mkdir(parents=True)
        for place, (name, array) in enumerate(part.items()):
            onnx.save_tensor(onnx.numpy_helper.from_array(array, name), one / f"input_{place}.pb")

    def reader() -> Iterator[Arrays]:
        yield from parts

    stacked = STREAM.join([parts[0], parts[1], parts[2] | {"rate": parts[0]["rate"]}])
    rates = np.array([1, 1, 1, 1, 1, 2], np.float32)
    return {
        "folder": folder / "npz",
        "sets": folder / "sets",
        "reader": reader(),
        "list": parts,
        "tuples": [tuple(part.values()) for part in parts],
        "stacked": stacked | {"rate": rates},
    }


@pytest.mark.parametrize("form", ["folder", "sets", "reader", "list", "tuples", "stacked"])
@pytest.mark.parametrize("size", [1, 2, 4, 32])
def test_samples_of_a_stream_come_in_every_form(form: str, size: int, tmp_path: Path) -> None:
    data = load_data(forms(tmp_path)[form], stream_model(), None)
    assert dict(data.batching.axes) == STREAM.axes
    for _ in range(2):
        batches = list(data.batches(size))
        assert [number for batch in batches for number in numbers(batch)] == [0, 1, 2, 3, 4, 5]
        assert [float(batch.feeds["rate"]) for batch in batches][-1] == 2.0
        assert all(len(batch) <= size for batch in batches)


@pytest.mark.parametrize("form", ["folder", "reader", "stacked"])
def test_the_limit_counts_samples(form: str, tmp_path: Path) -> None:
    assert sum(map(len, load_data(forms(tmp_path)[form], stream_model(), 4).batches(3))) == 4


def test_labels_stay_with_their_samples() -> None:
    labels = np.arange(5)
    data = load_data(stream(5) | {"labels": labels}, stream_model(), None)
    for batch in data.batches(2):
        assert batch.labels is not None
        assert batch.labels.tolist() == numbers(batch)


def test_counts_must_agree() -> None:
    feeds = stream(4)
    with pytest.raises(DataError, match=r"differ in their number of samples \(x: 4, state: 3\)"):
        list(load_data(feeds | {"state": feeds["state"][:, :3]}, stream_model(), None).batches(2))
    with pytest.raises(DataError, match="axis 1 counts samples, the rest must match; --input-batch-axis"):
        list(load_data(feeds | {"state": feeds["state"].swapaxes(0, 1)}, stream_model(), None).batches(2))


def test_files_of_other_lengths_are_batches_of_their_own(tmp_path: Path) -> None:
    model = load(build("(float[N,T] x) => (float[N,T] y) { y = Relu(x) }"))
    for number, (rows, length) in enumerate([(2, 3), (3, 3), (4, 7)]):
        np.savez(tmp_path / f"{number}.npz", x=np.ones((rows, length), np.float32))
    shapes = [batch.feeds["x"].shape for batch in load_data(tmp_path, model, None).batches(4)]
    assert shapes == [(4, 3), (1, 3), (4, 7)]
