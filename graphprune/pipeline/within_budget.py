"""The largest cut whose loss keeps within a budget: a scoring, and then trials of cut, repair and judgement."""

from __future__ import annotations

import logging
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.base.progress import Progress, headed
from graphprune.data.dataset import Data
from graphprune.errors import DataError, NothingToPrune, OptionError, TargetNotReached
from graphprune.evaluation.accuracy import Evaluation
from graphprune.evaluation.metric import load_metric
from graphprune.ir.export import to_proto
from graphprune.pass_infra.base import Pass
from graphprune.pipeline.cuts import Cut, ScoredCuts
from graphprune.pipeline.decide import not_reached
from graphprune.pipeline.measured import judge
from graphprune.pipeline.rounds import Repaired, Rounds
from graphprune.pipeline.sequence import Decided
from graphprune.plan.bisection import MOST_TRIALS, Bracket, largest
from graphprune.plan.max_drop import BudgetRecord, Drop, MaxDrop, TriedCut
from graphprune.plan.plan import Decision
from graphprune.plan.target import Target
from graphprune.run import samples
from graphprune.run.loaded import LoadedRun
from graphprune.run.notes import NoteKind, notes_of
from graphprune.run.options import RunOptions
from graphprune.workers import Workers, hired

_LOG = logging.getLogger("graphprune.budget")

WHAT = {
    "top1": "top-1",
    "agreement": "agreement with the original",
    "error": "error of the outputs",
    "perplexity": "perplexity",
    "metric": "the metric",
}


@dataclass
class Trials:
    """Cuts judged on held-out samples. ``tried`` has them in order, by their keys; ``repaired`` is the largest so far
    that keeps within the budget, with its weights.
    """

    loaded: LoadedRun
    options: RunOptions
    held_out: Data
    max_drop: MaxDrop
    cuts: ScoredCuts
    tried: dict[Hashable, TriedCut] = field(default_factory=dict)
    repaired: dict[Hashable, Repaired] = field(default_factory=dict)
    _last: Repaired | None = None
    _began: float = field(default_factory=time.perf_counter)

    def is_within(self, cut: Cut) -> bool:
        """Whether the cut, once repaired, loses no more than it may."""
        if cut.key in self.tried:
            return self.tried[cut.key].is_within
        drop = self._drop(cut) if cut.removed else self._nothing()
        cost = cut.small.cost
        found = TriedCut(cost.macs, cost.params, cut.removed, drop, self.max_drop.allows(drop))
        self.tried[cut.key] = found
        if found.is_within and self._last is not None:
            self.repaired = {cut.key: self._last}
        self._last = None
        _LOG.info("%s: loses %s", self.figure(cut), drop)
        return found.is_within

    def of(self, cut: Cut) -> TriedCut:
        """What was found of a cut that was tried."""
        return self.tried[cut.key]

    def figure(self, cut: Cut) -> str:
        """The size of a cut in words."""
        return share_left(cut.small.cost.macs, self.loaded.analysis.cost.macs)

    def search(self) -> Bracket[Cut]:
        """The largest cut within the budget, and the next larger one."""
        return largest(
            lambda share: self.cuts.at(Target("flops", share), or_all=True),
            lambda cut: cut.key,
            self.is_within,
            lambda cut: not cut.is_met,
        )

    def _nothing(self) -> Drop:
        return Drop("none", 0.0, 0.0, 0.0, 0)

    def _drop(self, cut: Cut) -> Drop:
        loaded = self.loaded
        options = replace(self.options, progress=self._within_trial(self.options.progress, self.figure(cut)))
        rounds = Rounds(loaded, options)
        rounds.fresh.extend(cut.steps)
        rounds.refits = self.cuts.refits
        options.progress("repairing", 0, 0)
        small = rounds.repaired(cut.small)
        self._last = (small.model, rounds.repair)
        options.progress("evaluating", 0, 0)
        evaluation, drop = judge(to_proto(small.model), loaded, self.held_out, options)
        self._check_direction(evaluation, drop)
        return drop

    def _check_direction(self, evaluation: Evaluation, drop: Drop) -> None:
        """Refuse a metric that gets better by more than may be lost: it may be one of which less is better."""
        if evaluation.kind != "metric" or drop.value >= -self.max_drop.share:
            return
        assert self.options.data.metric is not None
        name, function = load_metric(self.options.data.metric)
        if hasattr(function, "lower_is_better"):
            return
        raise OptionError(
            f"the metric {name} went from {evaluation.before:.4g} to {evaluation.after:.4g} by a cut: "
            "whether that is a loss is not known",
            f"write {name}.lower_is_better = True, or False, under the function",
        )

    def _within_trial(self, progress: Progress, figure: str) -> Progress:
        """Shows what a trial does behind its number and, from the second on, how long the others may take."""
        number, seconds = len(self.tried) + 1, time.perf_counter() - self._began
        left = "" if number == 1 else f", at most {(MOST_TRIALS - number + 1) * seconds / (number - 1):.0f} s left"
        return headed(progress, f"trial {number}, {figure}{left}")


class InTurn(Protocol):
    """Passes in turn without a budget, and what becomes of their decisions."""

    def options(self, loaded: LoadedRun, options: RunOptions) -> RunOptions:
        """As :meth:`graphprune.pipeline.sequence.Decider.options`."""
        ...

    def decide(self, loaded: LoadedRun, rounds: Rounds, options: RunOptions) -> Decided:
        """As :meth:`graphprune.pipeline.sequence.Decider.decide`."""
        ...

    def decided(
        self,
        loaded: LoadedRun,
        decisions: Sequence[Decision],
        small: ModelAnalysis,
        options: RunOptions,
        workers: Workers | None,
        reached: float,
    ) -> Decided:
        """What the decisions come to."""
        ...


@dataclass(frozen=True)
class WithinBudget:
    """``turns`` are the passes; without a ``target`` the largest cut is looked for that keeps within ``max_drop``, with
    one the cut that it asks for must. ``data`` is the source of the calibration samples.
    """

    turns: InTurn
    passes: tuple[Pass, ...]
    target: Target | None
    max_drop: MaxDrop
    data: Any

    def options(self, loaded: LoadedRun, options: RunOptions) -> RunOptions:
        """As the passes have them.

        Raises
        ------
        OptionError
            Training is to follow each removal, or comes between passes: no trial could tell what that leaves.
        """
        recovery = options.recovery
        if recovery.finetune is not None and (recovery.finetune_every == "removal" or len(self.passes) > 1):
            raise OptionError(
                "--max-drop tries cuts without training, which cannot come between removals here",
                "train behind one pass, or the result with graphprune finetune",
            )
        return self.turns.options(loaded, options)

    def decide(self, loaded: LoadedRun, rounds: Rounds, options: RunOptions) -> Decided:
        """The cut, carried out.

        Raises
        ------
        TargetNotReached
            No cut keeps within the budget, or not the one that the target asks for.
        """
        record = BudgetRecord(self.max_drop.share, self.max_drop.by)
        held_out = samples.held_out(self.data, loaded.model, loaded.data.batching, options)
        if held_out is None:
            raise DataError("what a cut loses is measured on samples, and there are none", "add --data, or --eval")
        if self.target is not None and self.target.is_time:
            found = self.turns.decide(loaded, rounds, options)
            return replace(found, plan=replace(found.plan, budget=record))
        who = options.workers
        with (
            hired(who.jobs, who.backend, who.cluster) as workers,
            ScoredCuts(loaded, self.passes, options, workers) as cuts,
        ):
            trials = Trials(loaded, options, held_out, self.max_drop, cuts)
            if self.target is None:
                bracket = trials.search()
                cut, beyond = bracket.within, bracket.beyond
                if cut is None or not cut.removed:
                    raise self._none_within(trials)
            else:
                cut, beyond = cuts.at(self.target), None
                if not cut.is_met:
                    raise not_reached(self.target, cut.decisions, cut.reached(loaded.analysis.cost))
                if not trials.is_within(cut):
                    raise self._beyond_target(trials, cut, trials.search().within)
            rounds.fresh.extend(cut.steps)
            rounds.ready = trials.repaired.get(cut.key)
            drop = trials.of(cut).drop
            reached = drop.value if self.target is None else cut.reached(loaded.analysis.cost)
            found = self.turns.decided(loaded, cut.decisions, cut.small, options, workers, reached)
        record = replace(
            record,
            reached=drop,
            beyond=None if beyond is None else trials.of(beyond),
            trials=tuple(trials.tried.values()),
        )
        plan, notes = replace(found.plan, budget=record), found.notes
        if self.target is None:
            plan = replace(plan, asked=f"max-drop={self.max_drop}")
            text = f"the cut was chosen on the {drop.samples:,} samples that it is judged on: others tell more of it"
            notes = (*notes, *notes_of(NoteKind.BUDGET, [text]))
        return replace(found, plan=plan, notes=notes)

    def _none_within(self, trials: Trials) -> TargetNotReached | NothingToPrune:
        if not trials.tried or all(not tried.removed for tried in trials.tried.values()):
            return NothingToPrune("the passes find nothing to remove", "graphprune inspect tells what stays and why")
        least = max((tried for tried in trials.tried.values() if tried.removed), key=lambda tried: tried.macs)
        dense = trials.loaded.analysis.cost.macs
        lost = f"loses {least.drop} of {WHAT[least.drop.kind]} on {least.drop.samples:,} samples{self._rule(least)}"
        smallest = f"the smallest tried, {share_left(least.macs, dense)}, {lost}"
        return TargetNotReached(f"no cut keeps within --max-drop {self.max_drop}: {smallest}", self._advice(least))

    def _beyond_target(self, trials: Trials, cut: Cut, within: Cut | None) -> TargetNotReached:
        found = trials.of(cut)
        lost = f"loses {found.drop} of {WHAT[found.drop.kind]} on {found.drop.samples:,} samples{self._rule(found)}"
        best = "no cut keeps within that"
        if within is not None and within.removed:
            best = f"the largest cut within that is {trials.figure(within)}, which loses {trials.of(within).drop}"
        return TargetNotReached(
            f"{self.target} is out of reach within --max-drop {self.max_drop}: it {lost}; {best}", self._advice(found)
        )

    def _rule(self, tried: TriedCut) -> str:
        """What counts, where the estimate alone would keep within."""
        return ", and the upper end of the interval counts" if tried.drop.value <= self.max_drop.share else ""

    def _advice(self, tried: TriedCut) -> str:
        needed = self.max_drop.samples_needed(tried.drop)
        if needed is None:
            return "allow more, or ask for less"
        about = f"{float(f'{needed:.2g}'):,.0f}"
        return f"give more samples to judge on (about {about} by --eval), allow more, or --drop-by estimate"


def share_left(macs: int, dense_macs: int) -> str:
    """``flops=0.715``."""
    return f"flops={macs / max(1, dense_macs):.3f}"
