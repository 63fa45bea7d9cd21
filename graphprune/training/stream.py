"""Training samples as a stream: held-out ones sifted out, the rest shuffled. Memory holds a buffer, never the data set.

Which samples are held out depends on their bytes alone, not on their place: it stays the same for every run, seed and
order of a self-shuffling loader, and copies of one sample fall on the same side.
The order of the others is a pure function of (seed, epoch), so that a resumed run finds the place where it stopped by
reading the stream again.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from graphprune.data.batching import ROWS, Arrays, Batch, Batching
from graphprune.data.dataset import Data
from graphprune.errors import DataError

_BUFFER_BYTES = 64 << 20
_BUFFER_ROWS = 64  # samples that are looked at together
_BUFFER_BATCHES = 4  # at least, as in the papers
_LABELS = "\0labels"  # no input has such a name


@dataclass(frozen=True)
class Tally:
    """What one reading of a stream found: how many samples, the span of labels, and a sum over all bytes.

    ``changes`` counts neighbours with different labels; few of them tell that the samples are sorted by class.
    """

    samples: int = 0
    is_labelled: bool = True
    lowest: int = 0
    highest: int = 0
    changes: int = 0
    checksum: int = 0
    row_bytes: int = 0

    def __str__(self) -> str:
        return f"{self.samples} samples {self.checksum:016x}"

    def plus(self, batch: Batch, hashes: np.ndarray) -> Tally:
        """The tally with one more batch; ``hashes`` is from :func:`row_hashes`."""
        labels = batch.labels
        weights = np.ones(len(batch), np.uint64) if labels is None else labels.astype(np.uint64) * 2 + 3
        total = int((hashes.astype(np.uint64) * weights).sum(dtype=np.uint64))  # in whatever order a loader gives them
        more = labels if labels is not None and len(labels) else np.zeros(1, np.int64)
        return Tally(
            samples=self.samples + len(batch),
            is_labelled=self.is_labelled and labels is not None,
            lowest=min(self.lowest, int(more.min())),
            highest=max(self.highest, int(more.max())),
            changes=self.changes + int(np.count_nonzero(np.diff(more))),
            checksum=(self.checksum + total) % (1 << 64),
            row_bytes=max(self.row_bytes, sum(a.nbytes for a in batch.feeds.values()) // max(1, len(batch))),
        )


def row_hashes(batch: Batch) -> np.ndarray:
    """CRC-32 of each sample's inputs, uint32 of shape (n,)."""
    hashes = np.zeros(len(batch), np.uint32)
    for array in batch.rows().values():
        rows = np.ascontiguousarray(array).reshape(len(batch), -1).view(np.uint8)
        for index in range(len(batch)):
            hashes[index] = zlib.crc32(rows[index].data, int(hashes[index]))
    return hashes


def is_held_out(hashes: np.ndarray, share: float) -> np.ndarray:
    """Which samples the training never sees."""
    mixed = hashes * np.uint32(2654435761)  # CRCs of like samples are alike in their upper bits; this spreads them
    return np.asarray(mixed < share * 2.0**32)


def split(data: Data, share: float, size: int) -> Iterator[tuple[Batch, Batch, np.ndarray]]:
    """Training part, held-out part and hashes of all samples, some ``size`` samples at a time."""
    free = replace(data, batching=data.batching.free())
    for batch in free.batches(size):
        hashes = row_hashes(batch)
        out = is_held_out(hashes, share)
        yield batch if not out.any() else batch.pick(~out), batch.pick(out), hashes


def training_parts(data: Data, share: float, size: int, passes: int) -> Iterator[Batch]:
    """What is trained on, ``passes`` times over, in the order of the source."""
    for _ in range(passes):
        for part, _, _ in split(data, share, size):
            yield part


def capacity(row_bytes: int, size: int, wanted: int | None) -> int:
    """Samples in the shuffle buffer: at least one batch, and four where nothing was asked for."""
    if wanted is not None:
        return max(wanted, size)
    return max(_BUFFER_BATCHES * size, _BUFFER_BYTES // max(1, row_bytes))


def trained_on(data: Data, share: float) -> Data:
    """``data`` without the ``share`` of its samples that a training holds out: what is fitted to these cannot be judged
    on them. All of them where samples are not counted, or a run takes a fixed number.
    """
    if data.fixed_batch is not None or not data.batching.counts_samples:
        return data

    def chunks() -> Iterator[Arrays]:
        for part, _, _ in split(data, share, _BUFFER_ROWS):
            if len(part):
                yield part.feeds

    return replace(data, chunks=chunks, limit=None)


def shuffled(
    parts: Iterator[Batch], size: int, room: int, key: tuple[int, int], batching: Batching = ROWS
) -> Iterator[Batch]:
    """Batches of ``size`` drawn at random from a buffer of ``room`` samples; the order depends on ``key`` = (seed,
    epoch).

    The rest that fills no batch is dropped, unless it is all there is: then it is the one batch.
    """
    if not batching.counts_samples:
        yield from _shuffled_runs(parts, room, key)
        return
    generator = np.random.default_rng((0, *key))
    buffer: Arrays = {}
    held = given = 0
    for part in parts:
        at = 0
        while at < len(part):
            take = min(len(part) - at, room - held)
            _put(buffer, part, at, at + take, held, room)
            held, at = held + take, at + take
            if held == room:
                yield _draw(buffer, generator, held, size, batching)
                held, given = held - size, given + 1
    while held >= size:
        yield _draw(buffer, generator, held, size, batching)
        held, given = held - size, given + 1
    if held and not given:
        yield _draw(buffer, generator, held, held, batching)


def _shuffled_runs(parts: Iterator[Batch], room: int, key: tuple[int, int]) -> Iterator[Batch]:
    """Samples that are runs of their own, each of its own size, drawn at random from ``room`` of them."""
    generator = np.random.default_rng((0, *key))
    held: list[Batch] = []
    for part in parts:
        held += [part] if len(part) else []
        if len(held) == room:
            yield held.pop(int(generator.integers(room)))
    while held:
        yield held.pop(int(generator.integers(len(held))))


def _put(buffer: Arrays, part: Batch, start: int, stop: int, held: int, room: int) -> None:
    arrays = part.rows() if part.labels is None else part.rows() | {_LABELS: part.labels}
    for name, array in arrays.items():
        rows = buffer.setdefault(name, np.empty((room, *array.shape[1:]), array.dtype))
        if rows.shape[1:] != array.shape[1:]:
            raise DataError(
                f"samples of input '{name}' differ in shape: {list(rows.shape[1:])} and {list(array.shape[1:])}",
                "pad them to one size",
            )
        rows[held : held + stop - start] = array[start:stop]
    if len(buffer) != len(arrays):
        raise DataError("some samples have labels and others have none", "label all of them or none")


def _draw(buffer: Arrays, generator: np.random.Generator, held: int, size: int, batching: Batching) -> Batch:
    """Take ``size`` of the first ``held`` samples out, and close the gaps with the last ones."""
    chosen = generator.choice(held, size, replace=False)
    taken = {name: rows[chosen] for name, rows in buffer.items()}
    movers = np.setdiff1d(np.arange(held - size, held), chosen)
    gaps = chosen[chosen < held - size]
    for rows in buffer.values():
        rows[gaps] = rows[movers]
    labels = taken.pop(_LABELS, None)
    return Batch(batching.from_rows(taken), labels, batching)
