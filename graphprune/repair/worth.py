"""What each part of a network is worth: how far its outputs move without it, once what reads the rest is refitted.

A part is an MLP, of which a share of the neurons or all may go, or another residual block as a whole. Each is tried in
the network as it is, on a few samples, and only what follows it runs again. One walk over all other samples gives the
sums by which neurons are ordered and readers refitted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from graphprune.analysis.blocks import Block
from graphprune.base import extras
from graphprune.data.batching import Batch
from graphprune.data.dataset import Data
from graphprune.importance.obs import Reader, removal_losses
from graphprune.ir.model import Model
from graphprune.repair import matrices
from graphprune.repair.judged import Judged
from graphprune.repair.ridge import Solver
from graphprune.repair.stage import WALK_BYTES
from graphprune.repair.task import RepairState
from graphprune.repair.walk import DAMPING, NONE, ReadGroup, WalkRefit
from graphprune.runtime.blas import blas_threads, threads_for
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.segments.runner import Environment, Segments
from graphprune.segments.stepwise import StepwiseRun

SHARES = (0.25, 0.5, 0.75)
"""Of the neurons of an MLP that are tried: between them the divergence grows nearly evenly."""


@dataclass(frozen=True)
class Part:
    """A residual block; ``read`` is the group in it that can be narrowed, with the layer that reads it."""

    block: Block
    read: ReadGroup | None = None


@dataclass
class Worth:
    """Of the block that ends at ``join``: the divergence of each sample without it (``whole``),
    and without so many units of its group (``partial``). ``losses`` order the units, low goes first.
    """

    join: str
    losses: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    partial: dict[int, list[float]] = field(default_factory=dict)


def worths(
    model: Model,
    parts: Sequence[Part],
    data: Data,
    samples: int,
    options: RuntimeOptions,
    progress: Callable[[int, int], None],
) -> list[Worth]:
    """For each of ``parts``, in order of execution; ``samples`` of ``data`` judge, the others give the sums.

    ``progress`` is told how many parts are done, of twice as many as there are.
    """
    found = [Worth(part.block.join) for part in parts]
    threads = threads_for(matrices.widest(model), options.thread_count)
    with tempfile.TemporaryDirectory(prefix="graphprune-") as folder, blas_threads(threads):
        judges = _fit(model, parts, found, data, samples, options, Path(folder), progress)
        _judge(model, parts, found, judges, options, Path(folder), progress)
    return found


def stops_of(units: int) -> list[int]:
    """How many units go at each of the shares; never all."""
    return sorted({round(share * units) for share in SHARES} - {0, units})


def _fit(
    model: Model,
    parts: Sequence[Part],
    found: Sequence[Worth],
    data: Data,
    samples: int,
    options: RuntimeOptions,
    folder: Path,
    progress: Callable[[int, int], None],
) -> list[Batch]:
    """Order the units of each part and keep the fits in ``folder``; the samples that are left to judge."""
    scene = RepairState(model, model, ())
    tasks = {index: WalkRefit(scene, part.read.site) for index, part in enumerate(parts) if part.read is not None}
    stops = [list(dict.fromkeys((*task.original_reads, *task.pruned_reads))) for task in tasks.values()]
    judges: list[Batch] = []
    with StepwiseRun(model, stops, options, WALK_BYTES) as run:
        for batch in data.batches(1):
            if len(judges) < samples:
                judges.append(batch)
            else:
                run.take(batch.feeds)
        if not run.batches:  # too few for both
            for batch in judges:
                run.take(batch.feeds)
        for stop, (index, task) in enumerate(tasks.items()):
            progress(index, 2 * len(parts))
            for values in run.advance(stop):
                task.add(values, values, run.batches)
            _order(task, parts[index], found[index], folder / str(index))
    return judges


def _order(task: WalkRefit, part: Part, worth: Worth, path: Path) -> None:
    read, site = part.read, task.site
    assert read is not None
    sums = task.whole_sums()
    matrix, shift = matrices.exit_matrix(task.scene.pruned, task.node, site.scale), site.shift[None]
    has_bias = site.bias is not None
    solver = Solver(sums, matrix, shift, has_bias, np.ones_like(shift, dtype=bool), task.per_input)
    reader = Reader(solver.damped(DAMPING)[0] / sums.n, matrix[0], read.owner, read.group.size, NONE)

    def keep(gone: int, left: list[int]) -> None:
        inputs = np.flatnonzero((read.owner < 0) | np.isin(read.owner, left))
        lost = (sums.x[0] / sums.n) @ (matrix[0] - reader.weights) if has_bias else np.zeros(len(shift[0]))
        weights = reader.weights[inputs].astype(np.float32)
        np.savez(path.with_name(f"{path.name}-{gone}.npz"), left=inputs, matrix=weights, shift=site.shift + lost)

    stops = stops_of(read.group.size)
    worth.losses = removal_losses([reader], read.group.size, max(stops, default=0), stops, keep).tolist()


def _judge(
    model: Model,
    parts: Sequence[Part],
    found: Sequence[Worth],
    judges: Sequence[Batch],
    options: RuntimeOptions,
    folder: Path,
    progress: Callable[[int, int], None],
) -> None:
    """Try every part, on one sample after another."""
    output = model.graph.outputs[0].name
    targets = [output, *(part.read.site.reads for part in parts if part.read is not None)]
    segments = Segments.at_blocks(model, [part.block for part in parts], targets, options)
    with blas_threads(1), ThreadPoolExecutor(options.thread_count) as pool:  # a segment runs on one thread, too
        for number, batch in enumerate(judges):
            env = segments.run(batch.feeds)
            judged = Judged(model, batch.feeds, env[output].numpy())
            trial = _Trial(model, segments, env, output, judged, folder)
            jobs = [(index, gone) for index, part in enumerate(parts) for gone in _tried(part)]
            values = pool.map(lambda job, trial=trial: trial.divergence_of(parts[job[0]], *job), jobs)
            for (index, gone), value in zip(jobs, values, strict=True):
                progress(len(parts) + (number * len(parts) + index) // len(judges), 2 * len(parts))
                (found[index].whole if gone is None else found[index].partial.setdefault(gone, [])).append(value)


@dataclass(frozen=True)
class _Trial:
    """One sample: everything that ``segments`` compute for it (``env``), and what its scores are compared with."""

    model: Model
    segments: Segments
    env: Environment
    output: str
    judged: Judged
    folder: Path

    def divergence_of(self, part: Part, index: int, gone: int | None) -> float:
        """Without the ``index``-th ``part``, or without so many of its units."""
        if gone is None:
            values = self.segments.without(self.env, part.block)
        else:
            fit = self.folder / f"{index}-{gone}.npz"
            values = self.segments.following(self.env, self._narrowed(part, fit))
        return self.judged.divergence(values[self.output].numpy())

    def _narrowed(self, part: Part, path: Path) -> Environment:
        """What the part adds to the stream, or the stream after it, with the units gone and their reader refitted."""
        read = part.read
        assert read is not None
        site, env = read.site, self.env
        with np.load(path) as kept:
            left, matrix, shift = kept["left"], kept["matrix"], kept["shift"]
        node = next(node for node in self.model.graph.nodes if node.name == site.node)
        old = matrices.exit_matrix(self.model, node, site.scale)[0].astype(np.float32)
        # a norm that adds is no part of the block, and gives more than the sum
        exit_ = site.exit if part.block.keeps_join else part.block.exit
        x, values = env[site.reads].numpy(), env[exit_].numpy()
        x = x.reshape(-1, x.shape[-1])
        change = x[:, left] @ matrix - x @ old + (shift - site.shift).astype(np.float32)
        return {exit_: extras.onnxruntime().OrtValue.ortvalue_from_numpy(values + change.reshape(values.shape))}


def _tried(part: Part) -> Iterator[int | None]:
    """How many units go; None for the whole block."""
    if part.read is not None:
        yield from stops_of(part.read.group.size)
    yield None
