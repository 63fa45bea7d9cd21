"""What would be left to repair without a block? Candidates judged after the layers behind the gap have been refitted.

A candidate costs what follows it: its network is walked from the last known tensor before the gap,
over a few samples held in memory, and only the layers that the removal concerns, or the first few of them, are
refitted, as :func:`repair` does it. All candidates share the original's activations and those of the network pruned so
far. Their Gram matrices have nothing in common: each gap changes what all later layers read. The winner's weights are
the next parent's, so later removals are judged on top of earlier repairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from graphprune.analysis.blocks import Block, find_joins
from graphprune.analysis.dataflow import DataFlow
from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.analysis.representation import Representation
from graphprune.base.progress import silent
from graphprune.data.dataset import Data
from graphprune.ir.model import Model
from graphprune.repair.history import History
from graphprune.repair.sites import find_sites
from graphprune.repair.stage import carry_out, repair, task_of
from graphprune.repair.survivors import survivors
from graphprune.repair.task import RepairState, Task
from graphprune.rewrite import remove_blocks
from graphprune.rewrite.removal import Removal
from graphprune.runtime.execution import Execution
from graphprune.scoring.blocks import FeatureComparison
from graphprune.segments.ablation import Features
from graphprune.segments.activations import ActivationCache
from graphprune.segments.stepwise import StepwiseRun, Values

C = TypeVar("C", bound=FeatureComparison[object])


@dataclass(frozen=True)
class TrialSetup:
    """What trials stand on: the network as given, what led from it to that of ``analysis``, and the samples.

    ``representations`` are tensors of the present network that are compared,
    after at most ``refits`` layers of each candidate have been refitted.
    """

    history: History
    analysis: ModelAnalysis
    representations: tuple[Representation, ...]
    data: Data
    execution: Execution
    refits: int


@dataclass(frozen=True)
class _Trial:
    """A network without ``block``, and the layers to refit in it."""

    block: Block
    model: Model
    tasks: list[Task]

    @property
    def reads(self) -> list[str]:
        """Of the original."""
        return [tensor for task in self.tasks for tensor in task.original_reads]


class RepairedTrials:
    """Judges removals from ``parent``, the network pruned and repaired so far;
    :meth:`settle` makes one of them the parent.
    """

    def __init__(self, setup: TrialSetup) -> None:
        self._setup, self._removals = setup, setup.history.removals
        self._origin, self._runtime = setup.history.origin, setup.execution.runtime
        data = setup.data
        parts = list(data.batches(setup.execution.batch))  # read once: the source may give other samples next time
        self._feeds: list[Values] = [part.feeds for part in parts]
        self.data = replace(data, chunks=lambda: (part.arrays() for part in parts), limit=sum(map(len, parts)))
        self.parent = setup.analysis.model
        self._open = ExitStack()
        self._theirs = self._open.enter_context(ActivationCache(self._origin, self._feeds, self._runtime))
        self._mine = ActivationCache(self.parent, self._feeds, self._runtime)
        self._wanted = _in_original(setup)
        self._gone: dict[str, str] = {}  # exits of removed blocks, and their entries
        self._tried: dict[str, _Trial] = {}
        self.refits = 0

    def __enter__(self) -> Self:
        if self._removals and not self._setup.history.is_repaired:
            repaired, _ = repair(
                self._origin,
                self.parent,
                self._removals,
                self._setup.analysis.sizes,
                self.data,
                self._setup.execution.batch,
                ("ridge",),
                self._runtime,
                silent,
            )
            self._move_to(repaired)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._mine.close()
        self._open.close()

    @property
    def blocks(self) -> dict[str, Block]:
        """The blocks of the parent, by join."""
        return {join.node: join.block for join in find_joins(self.parent, self._setup.analysis.sizes) if join.block}

    @property
    def representations(self) -> list[Representation]:
        """As they are called in the parent."""
        flow = self.parent.derived(DataFlow)
        return [replace(each, tensor=_left(flow, each.tensor, self._gone)) for each in self._setup.representations]

    def judge(self, joins: Sequence[str], make: Callable[[], C]) -> list[C]:
        """One comparison per representation, of the original with the parent without each of the blocks, refitted."""
        blocks = self.blocks
        trials = [self._trial(blocks[join]) for join in joins]
        self._theirs.want({*self._wanted, *(tensor for trial in trials for tensor in trial.reads)})
        self._mine.want({block.entry for block in blocks.values()})
        features = [self._features(trial, blocks) for trial in trials]
        self._tried = dict(zip(joins, trials, strict=True))
        comparisons = [make() for _ in self._wanted]
        for batch in range(len(self._feeds)):
            theirs = self._theirs.get(batch, self._wanted)
            for index, comparison in enumerate(comparisons):
                comparison.reference(self._wanted_features(index, theirs[self._wanted[index]]))
                for candidate, found in enumerate(features):
                    comparison.candidate(candidate, found[batch][index])
        return comparisons

    def settle(self, join: str) -> None:
        """Go on from the network without this block, which has been judged, as it has been refitted."""
        trial = self._tried[join]
        self._gone[trial.block.exit] = trial.block.entry
        self._removals = (*self._removals, Removal(self.parent, (trial.block,)))
        self._move_to(trial.model)

    def _wanted_features(self, index: int, values: np.ndarray) -> NDArray[np.floating]:
        """Of the original, without the channels that earlier steps have cut."""
        representation = self._setup.representations[index]
        axis = 1 if representation.layout == "channels" else values.ndim - 1
        left = survivors(self._setup.history.removals, self._wanted[index], axis, values.shape[axis])
        return representation.features(np.take(values, left, axis) if len(left) < values.shape[axis] else values)

    def _move_to(self, parent: Model) -> None:
        self._mine.close()
        self.parent, self._tried = parent, {}
        self._mine = ActivationCache(parent, self._feeds, self._runtime)

    def _trial(self, block: Block) -> _Trial:
        """The network without ``block``, before anything is refitted."""
        sizes = self._setup.analysis.sizes
        model = remove_blocks(self.parent, [block])
        state = RepairState(self._origin, model, (*self._removals, Removal(self.parent, (block,))))
        concerned = {site.node for site in find_sites(self.parent, model, sizes)}
        sites = [site for site in find_sites(self._origin, model, sizes) if site.node in concerned]
        return _Trial(block, model, [task_of("ridge", state, site) for site in sites[: self._setup.refits]])

    def _features(self, trial: _Trial, blocks: dict[str, Block]) -> list[Features]:
        """Refit the layers of a trial; the features of every batch, for every representation."""
        representations, batches = self._setup.representations, range(len(self._feeds))
        flow, gone = trial.model.derived(DataFlow), self._gone | {trial.block.exit: trial.block.entry}
        tensors = [_left(flow, representation.tensor, gone) for representation in representations]
        stops = [*(task.pruned_reads for task in trial.tasks), tensors]
        with StepwiseRun(trial.model, stops, self._runtime, known=self._known(trial, blocks, flow)) as cut:
            self._mine.want(cut.reads)
            for batch in batches:
                cut.take(self._mine.get(batch, cut.reads))
            for index, task in enumerate(trial.tasks):
                theirs = (self._theirs.get(batch, task.original_reads) for batch in batches)
                carry_out(task, theirs, cut, index, self._runtime.thread_count)
            self.refits += len(trial.tasks)
            return [
                [each.features(values[tensor]) for each, tensor in zip(representations, tensors, strict=True)]
                for values in cut.advance(len(trial.tasks))
            ]

    def _known(self, trial: _Trial, blocks: dict[str, Block], flow: DataFlow) -> list[str]:
        """Entries of blocks whose values are the parent's: before the gap,
        and before the first layer to be refitted.
        """
        before = self.parent.derived(DataFlow).order
        first = min((flow.order[task.node.name] for task in trial.tasks), default=len(flow.order))
        entries = [each.entry for each in blocks.values() if before[each.join] <= before[trial.block.join]]
        return [entry for entry in entries if entry in flow.producer and flow.order[flow.producer[entry]] < first]


def _in_original(setup: TrialSetup) -> list[str]:
    """What the representations are called, and stand for, in the network as given: past a removed block,
    for its exit.
    """
    names = []
    for representation in setup.representations:
        tensor = representation.tensor
        for step in reversed(setup.history.removals):
            exits = {block.entry: block.exit for block in step.blocks if not block.pads}
            while tensor in exits:
                tensor = exits[tensor]
        names.append(tensor)
    return names


def _left(flow: DataFlow, tensor: str, gone: dict[str, str]) -> str:
    """What ``tensor`` is called where the blocks with the exits ``gone`` are gone."""
    while tensor not in flow.producer and tensor in gone:
        tensor = gone[tensor]
    return tensor
