"""Walk a network from input to output over all data, from stop to stop, holding only what is still needed.

At each stop some tensors are looked at, batch by batch. Every node runs once, with the weights it has when it is
reached: what a stop has changed is in force from there on. Tensors that wait are kept in memory up to a limit,
beyond it in files of a temporary folder.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from graphprune.analysis.dataflow import DataFlow
from graphprune.ir.input_origins import fed_to
from graphprune.ir.model import Model
from graphprune.runtime.sessions import RuntimeOptions, run
from graphprune.segments.cuts import at_stops
from graphprune.segments.partition import Segment, partition
from graphprune.segments.runner import open_segment

_MEMORY_LIMIT_BYTES = 1 << 30

Values = dict[str, np.ndarray]


class TensorStore:
    """The tensors of every batch that a later part of the walk reads."""

    def __init__(self, folder: Path, limit_bytes: int = _MEMORY_LIMIT_BYTES) -> None:
        self._folder, self._limit = folder, limit_bytes
        self._held: list[dict[str, np.ndarray | Path]] = []
        self.held_bytes = 0
        self._files = 0

    def __len__(self) -> int:
        return len(self._held)

    def get(self, batch: int, names: Collection[str] | None = None) -> Values:
        """All that is held of a batch, or the tensors named."""
        held = self._held[batch]
        wanted = held if names is None else {name: held[name] for name in names}
        return {n: np.load(v) if isinstance(v, Path) else v for n, v in wanted.items()}

    def put(self, batch: int, values: Values) -> None:
        """Replace what is held of a batch."""
        if batch == len(self._held):
            self._held.append({})
        old = self._held[batch]
        self.held_bytes -= sum(value.nbytes for value in old.values() if isinstance(value, np.ndarray))
        for name, value in old.items():
            if isinstance(value, Path) and name not in values:
                value.unlink()
        self._held[batch] = {name: self._kept(old.get(name), value) for name, value in values.items()}

    def add(self, batch: int, values: Values) -> None:
        """Hold more of a batch."""
        held = self._held[batch]
        held.update({name: self._kept(None, value) for name, value in values.items() if name not in held})

    def _kept(self, old: np.ndarray | Path | None, value: np.ndarray) -> np.ndarray | Path:
        if isinstance(old, Path):
            np.save(old, value)
            return old
        if self.held_bytes + value.nbytes <= self._limit:
            self.held_bytes += value.nbytes
            return value
        self._files += 1
        path = self._folder / f"{self._files}.npy"
        np.save(path, value)
        return path


class StepwiseRun:
    """One network on its way; ``stops`` are the tensors to look at, stop by stop.

    What is ``known`` is handed over with the inputs: the walk starts there.
    """

    def __init__(
        self,
        model: Model,
        stops: Sequence[Sequence[str]],
        options: RuntimeOptions,
        limit_bytes: int = _MEMORY_LIMIT_BYTES,
        known: Collection[str] = (),
    ) -> None:
        self.model, self._stops, self._options = model, [list(stop) for stop in stops], options
        self._temporary = tempfile.TemporaryDirectory(prefix="graphprune-")
        self._waiting = TensorStore(Path(self._temporary.name), limit_bytes)
        flow = model.derived(DataFlow)
        targets = set().union(*self._stops)
        self._legs = partition(flow, at_stops(flow, self._stops, known), targets)
        self._needed = _needed(self._legs, self._stops)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._temporary.cleanup()

    @property
    def batches(self) -> int:
        """How many have been taken."""
        return len(self._waiting)

    @property
    def reads(self) -> set[str]:
        """The inputs and known tensors that any leg reads."""
        return self._needed[0]

    def take(self, feeds: Values) -> None:
        """Hold of one more batch what any leg reads."""
        feeds = fed_to(self.model, feeds)
        self._waiting.put(len(self._waiting), {name: feeds[name] for name in feeds if name in self._needed[0]})

    def advance(self, stop: int) -> Iterator[Values]:
        """Run the leg to ``stop``; yield each batch's values of the tensors asked for there."""
        leg = self._legs[stop]
        before, after = self._needed[stop], self._needed[stop + 1]
        reads, writes = list(leg.reads), list(leg.writes)
        session = open_segment(self.model, leg, self._options) if leg.nodes else None
        for index in range(len(self._waiting)):
            values = {name: value for name, value in self._waiting.get(index).items() if name in before}
            if session is not None:
                found = run(session, {name: values[name] for name in reads}, writes)
                values |= dict(zip(writes, found, strict=True))
            self._waiting.put(index, {name: value for name, value in values.items() if name in after})
            yield {name: values[name] for name in self._stops[stop]}

    def amend(self, tensor: str, factors: np.ndarray, offsets: np.ndarray) -> None:
        """Multiply and shift a waiting tensor, whose maker has been changed after it ran; both broadcast to it."""
        for index in range(len(self._waiting)):
            values = self._waiting.get(index)
            if tensor in values:
                changed = values[tensor] * factors + offsets
                self._waiting.put(index, values | {tensor: changed.astype(values[tensor].dtype)})


def _needed(legs: Sequence[Segment], stops: Sequence[Sequence[str]]) -> list[set[str]]:
    """The tensors that must be held before each leg (and, empty, after the last)."""
    needed: list[set[str]] = [set()]
    for leg, stop in zip(reversed(legs), reversed(stops), strict=True):
        needed.append((needed[-1] | set(leg.reads) | set(stop)) - set(leg.writes))
    return needed[::-1]
