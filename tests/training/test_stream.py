"""The order of the samples is a function of seed and epoch; nothing is lost, nothing leaks, memory is bounded."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from graphprune.data.batching import Batch, Batching
from graphprune.data.dataset import load_data
from graphprune.errors import DataError
from graphprune.training.augment import augmented, crop_flip, is_image
from graphprune.training.batch_file import BatchFile
from graphprune.training.stream import Tally, capacity, is_held_out, row_hashes, shuffled, split, training_parts
from tests.training.parts import SIDE, model, samples


def parts(count: int, size: int = 7, *, labelled: bool = True) -> Iterator[Batch]:
    """Samples 0, 1, 2 ... with their number as label, in uneven parts."""
    for start in range(0, count, size):
        ids = np.arange(start, min(count, start + size))
        yield Batch({"x": ids[:, None].astype(np.float32)}, ids if labelled else None)


def drawn(count: int, size: int, room: int, key: tuple[int, int] = (0, 1)) -> list[list[int]]:
    batches = list(shuffled(parts(count), size, room, key))
    for batch in batches:
        assert batch.labels is not None
        np.testing.assert_array_equal(batch.feeds["x"][:, 0], batch.labels)  # each sample keeps its label
    return [batch.labels.tolist() for batch in batches if batch.labels is not None]


@pytest.mark.parametrize(("count", "size", "room"), [(100, 10, 30), (100, 10, 10), (103, 10, 1000), (64, 16, 17)])
def test_every_sample_once_in_even_batches(count: int, size: int, room: int) -> None:
    batches = drawn(count, size, room)
    assert [len(batch) for batch in batches] == [size] * (count // size)
    seen = [sample for batch in batches for sample in batch]
    assert len(set(seen)) == len(seen)
    assert set(seen) <= set(range(count))


def test_fewer_than_a_batch_is_one_batch() -> None:
    (batch,) = drawn(5, 16, 64)
    assert sorted(batch) == [0, 1, 2, 3, 4]
    assert list(shuffled(iter(()), 16, 64, (0, 0))) == []


def test_order_depends_on_seed_and_epoch_alone() -> None:
    assert drawn(200, 10, 60, (3, 1)) == drawn(200, 10, 60, (3, 1))
    orders = [drawn(200, 10, 60, key) for key in ((3, 1), (3, 2), (4, 1))]
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_a_buffer_as_large_as_the_data_mixes_all_of_it() -> None:
    first = np.concatenate([drawn(400, 10, 400, (seed, 0))[0] for seed in range(40)])
    assert first.mean() == pytest.approx(199.5, abs=20)  # a first batch in the order of the source would have 4.5


def test_small_buffer_shuffles_within_its_reach() -> None:
    first = drawn(1000, 10, 40)[0]
    assert max(first) < 40
    assert first != sorted(first)


def test_mixed_labels_and_shapes_are_refused() -> None:
    mixed = [*parts(7), *parts(7, labelled=False)]
    with pytest.raises(DataError, match="some samples have labels and others have none"):
        list(shuffled(iter(mixed), 4, 8, (0, 0)))
    shapes = [Batch({"x": np.zeros((2, 3))}, None), Batch({"x": np.zeros((2, 4))}, None)]
    with pytest.raises(DataError, match=r"samples of input 'x' differ in shape: \[3\] and \[4\]"):
        list(shuffled(iter(shapes), 4, 8, (0, 0)))


def test_held_out_depends_on_content_not_on_place() -> None:
    images, labels = samples(500)
    order = np.random.default_rng(1).permutation(500)
    whole = Batch({"x": images}, labels)
    mask = is_held_out(row_hashes(whole), 0.1)
    again = is_held_out(row_hashes(Batch({"x": images[order]}, None)), 0.1)
    np.testing.assert_array_equal(mask[order], again)
    assert 0.06 < mask.mean() < 0.14
    assert 0.44 < is_held_out(row_hashes(whole), 0.5).mean() < 0.56


def test_held_out_shares_of_alike_samples_are_right_too() -> None:
    ids = np.arange(20_000, dtype=np.int64)[:, None]  # rows that differ in a few bits only
    assert is_held_out(row_hashes(Batch({"ids": ids}, None)), 0.1).mean() == pytest.approx(0.1, abs=0.01)


def test_split_parts_are_disjoint_and_complete() -> None:
    images, labels = samples(150)
    data = load_data({"x": images, "labels": labels}, model(), None)
    kept, out = [], []
    for train, held, hashes in split(data, 0.2, 32):
        assert len(hashes) == len(train) + len(held)
        kept += list(train.feeds["x"][:, 0, 0, 0])
        out += list(held.feeds["x"][:, 0, 0, 0])
    assert sorted(kept + out) == sorted(images[:, 0, 0, 0])
    assert not set(kept) & set(out)
    assert 10 < len(out) < 60
    twice = [v for part in training_parts(data, 0.2, 32, 2) for v in part.feeds["x"][:, 0, 0, 0]]
    assert twice == kept + kept


def test_split_of_a_fixed_batch_keeps_every_sample() -> None:
    images, _ = samples(30)
    data = load_data({"x": images}, model(batch=8), None)
    assert sum(len(train) + len(held) for train, held, _ in split(data, 0.3, 8)) == 30


def test_tally_tells_data_apart_but_not_orders() -> None:
    images, labels = samples(60)

    def tally(images: np.ndarray, labels: np.ndarray | None) -> Tally:
        batch = Batch({"x": images}, labels)
        return Tally().plus(batch, row_hashes(batch))

    whole = tally(images, labels)
    order = np.random.default_rng(0).permutation(60)
    assert str(whole) == str(tally(images[order], labels[order]))
    assert str(whole) != str(tally(images, labels[order]))
    changed = images.copy()
    changed[3, 0, 0, 0] += 1e-3
    assert str(whole) != str(tally(changed, labels))
    assert str(whole) != str(tally(images, None))
    assert (whole.samples, whole.lowest, whole.highest, whole.row_bytes) == (60, 0, 3, 3 * SIDE * SIDE * 4)
    assert tally(images, np.sort(labels)).changes == 3


def test_capacity() -> None:
    assert capacity(12_288, 128, None) == 5461
    assert capacity(10_000_000, 128, None) == 512
    assert capacity(12_288, 128, 1000) == 1000
    assert capacity(12_288, 128, 5) == 128


def test_memory_is_a_buffer_not_the_data_set(tmp_path: Path) -> None:
    """100 MB in a mapped file: one epoch holds a few chunks and the buffer."""
    count = 100_000_000 // (3 * SIDE * SIDE * 4)
    np.save(tmp_path / "large.npy", np.zeros((count, 3, SIDE, SIDE), np.float32))
    script = "import numpy as np\ndef mapped():\n    return np.load(__file__[:-7] + 'large.npy', mmap_mode='r')\n"
    (tmp_path / "feed.py").write_text(script)
    for source in ("large.npy", "feed.py:mapped"):
        data = load_data(str(tmp_path / source), model(), None)
        tracemalloc.start()
        batches = sum(1 for _ in shuffled(training_parts(data, 0.0001, 64, 1), 64, 1024, (0, 0)))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert batches >= count // 64 - 2
        assert peak < 60_000_000, source


@pytest.mark.parametrize("exact", [False, True])
def test_spool_gives_back_what_it_was_given(exact: bool) -> None:
    with BatchFile(8, exact) as spool:
        for part in parts(30, 7):
            spool.add(part)
        spool.finish()
        for _ in range(2):
            sizes, ids = [], []
            for batch in spool.batches():
                assert batch.labels is not None
                np.testing.assert_array_equal(batch.feeds["x"][:, 0], batch.labels)
                sizes.append(len(batch))
                ids += batch.labels.tolist()
            assert sizes == ([8, 8, 8] if exact else [8, 8, 8, 6])
            assert ids == list(range(len(ids)))
        assert spool.samples == sum(sizes)


def test_crop_flip_moves_and_mirrors_but_invents_nothing() -> None:
    images = np.arange(1, 1 + 3 * 32 * 32, dtype=np.float32).reshape(1, 3, 32, 32).repeat(200, 0)
    made = crop_flip(images, np.random.default_rng(0))
    assert made.shape == images.shape
    tops, flips = set(), 0
    for image in made:
        plain = image[:, :, ::-1] if (flipped := image[0, 16, 15] > image[0, 16, 16]) else image
        flips += flipped
        top, left = divmod(int(plain[0, 16, 16]) - 1, 32)
        tops.add((top - 16, left - 16))
        padded = np.pad(images[0], ((0, 0), (4, 4), (4, 4)))
        np.testing.assert_array_equal(plain, padded[:, top - 12 : top + 20, left - 12 : left + 20])
    assert 70 < flips < 130
    assert {y for y, _ in tops} == {x for _, x in tops} == set(range(-4, 5))


def test_augmentation_depends_on_its_key_alone() -> None:
    feeds = {"x": samples(20)[0], "other": np.arange(20)}
    one, same, other = (augmented(feeds, ("x",), key) for key in ((0, 1, 2), (0, 1, 2), (0, 1, 3)))
    np.testing.assert_array_equal(one["x"], same["x"])
    assert (one["x"] != other["x"]).any()
    assert one["other"] is feeds["other"]


def test_which_inputs_are_images() -> None:
    assert [is_image(spec) for spec in load_data(samples(2)[0], model(), None).specs] == [True]


def test_runs_of_their_own_are_shuffled_one_by_one() -> None:
    """Samples of different sizes, none of which shares a run with another."""
    batching = Batching({"x": None}, 1)

    def runs() -> Iterator[Batch]:
        for number in range(1, 31):
            yield Batch({"x": np.full(number, number)}, None, batching)

    orders = [
        [int(batch.feeds["x"][0]) for batch in shuffled(runs(), 1, 8, (0, epoch), batching)] for epoch in (0, 0, 1)
    ]
    assert sorted(orders[0]) == list(range(1, 31)) != orders[0]
    assert orders[0] == orders[1] != orders[2]
