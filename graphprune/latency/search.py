"""Passes run for a time: each is asked for proposals, candidates are rewritten in memory and measured whole.

Passes run in turn, each from what the one before left. A pass that removes blocks goes in steps; where another pass follows,
it stops above the asked time, and the last one closes the gap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.bench.alignment import HELD_FOR
from graphprune.bench.ort import OrtRuntime
from graphprune.bench.times_cache import Cache
from graphprune.errors import OptionError
from graphprune.latency.clock import Clock, EndToEndTimer
from graphprune.latency.closing import TOLERANCE, Closing, Proposal, Reading, close_in
from graphprune.latency.prefixes import Prefixes
from graphprune.latency.table import LatencyProfiler
from graphprune.latency.widths import Knapsack, Rule, Scored, even_steps, levels
from graphprune.pass_infra.base import Pass
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.unit_pass import UnitPass
from graphprune.plan.plan import Decision
from graphprune.plan.target import Target
from graphprune.rewrite.apply import execute
from graphprune.rewrite.removal import Removal
from graphprune.run.loaded import LoadedRun
from graphprune.run.options import RunOptions
from graphprune.runtime.sessions import Feeds

_ALL = 1e-6  # share of the MACs that no pass leaves: a pass that goes in steps is stopped by the clock


@dataclass
class LatencySearch:
    """The state of one run: ``reached`` is the measured time of what the passes so far left, in the target's unit.

    ``feeds`` is one sample, to look at candidates with.
    """

    target: Target
    clock: Clock
    surveyor: LatencyProfiler
    feeds: Feeds
    reached: float = field(init=False)

    @classmethod
    def of(cls, target: Target, subject: LoadedRun, options: RunOptions) -> LatencySearch:
        """The search for the model of a run, on the wall clock.

        Raises
        ------
        OptionError
            Timing is switched off, or training is to follow every removal.
        NothingToPrune
            The model is that fast already.
        """
        if not options.timing.measure_latency:
            raise OptionError(f"only a timing tells when {target} is reached", "leave out --no-bench")
        if options.recovery.finetune is not None and options.recovery.finetune_every == "removal":
            raise OptionError(
                "a latency cannot be the target of training after every removal", "give flops=, params= or removed="
            )
        model, feeds = subject.model, subject.data.first(options.timing.batch)
        where = OrtRuntime(options.runtime).environment()
        key = {name: where[name] for name in HELD_FOR if name in where}
        shapes = {name: list(array.shape) for name, array in sorted(feeds.items())}
        key |= {"batch": options.timing.batch, "inputs": shapes, "model": model.sha256}
        surveyor = LatencyProfiler(feeds, options.runtime, Cache(options.timing.cache_folder, key), options.progress)
        options.progress("measuring", 0, 0)
        clock = EndToEndTimer(target, model.source, model.folder, feeds, options.runtime, options.timing.seconds)
        return cls(target, clock, surveyor, subject.feeds)

    @property
    def notes(self) -> tuple[str, ...]:
        """What became of the cached times."""
        return tuple(self.surveyor.cache.notes)

    def __post_init__(self) -> None:
        self.reached = self.clock.dense

    @property
    def is_met(self) -> bool:
        """Whether the time is no longer than asked, to within the tolerance."""
        return self.reached <= self.clock.asked * (1 + TOLERANCE)

    def steps(self, each: Pass, context: Context) -> list[Decision]:
        """What ``each`` removes for the target, with the limit that stopped it if it did not get there.

        Raises
        ------
        NothingToPrune
            The pass finds nothing.
        """
        if self.is_met:
            return [Decision(str(each))]
        if type(each).steps is not Pass.steps:
            return self._in_steps(each, context)
        found = close_in(self.clock.asked, self.reached, self._proposals(each, context), self._measuring(each, context))
        best = found.best
        if not found.is_close and not context.is_last and not isinstance(each, UnitPass):
            best = _above(found) or best
        self.reached = best.value
        decision = best.proposal.thing
        if not found.is_met:
            return [replace(decision, limit=self._limit(each, context, decision, found))]
        is_coarse = best is found.best and not found.is_close
        notes = (*decision.notes, *((self._steps_note(*found.neighbours()),) if is_coarse else ()))
        return [replace(decision, notes=notes)]

    def _proposals(self, each: Pass, context: Context) -> Callable[[float], Proposal[Decision]]:
        if not isinstance(each, UnitPass):
            return Prefixes(each, context, self.surveyor.table(context.analysis, {}, {}))
        each.check()
        groups = each.eligible(context)
        scores, notes = each.finite_scores(context, groups)
        scored = Scored(each, context, groups, scores, notes)
        steps = levels(each, context, groups)
        table = self.surveyor.table(context.analysis, steps, even_steps(context, groups))
        return Knapsack(scored, table, steps) if scored.has_choice else Rule(scored, table)

    def _measuring(self, each: Pass, context: Context) -> Callable[[Proposal[Decision]], float]:
        def measure(proposal: Proposal[Decision]) -> float:
            context.progress(f"{each.name}: timing a candidate", 0, 0)
            return self._time(context.analysis, proposal.thing, context)

        return measure

    def _time(self, analysis: ModelAnalysis, decision: Decision, context: Context) -> float:
        if not decision.removed_count:
            return self.reached
        steps: list[Removal] = []
        return self.clock.time(execute(analysis, decision, steps, self.feeds, context.options).model)

    def _in_steps(self, each: Pass, context: Context) -> list[Decision]:
        """A pass that makes one decision after another is stopped when the time is reached."""
        asked = replace(context, target=Target("flops", _ALL), is_last=False)
        decisions: list[Decision] = []
        analysis = context.analysis
        for decision in each.steps(asked):
            before = self.reached
            steps: list[Removal] = []
            analysis = execute(analysis, decision, steps, self.feeds, context.options)
            decisions.append(replace(decision, limit=""))
            self.reached = self.clock.time(analysis.model)
            if self.is_met:
                if self.reached < self.clock.asked * (1 - TOLERANCE):
                    note = self._steps_note(self.reached, before)
                    decisions[-1] = replace(decision, limit="", notes=(*decision.notes, note))
                return decisions
        if decisions:
            limit = f"at most {self._figure(self.reached)}, where {each} ends"
            decisions[-1] = replace(decisions[-1], limit=limit)
        return decisions

    def _limit(self, each: Pass, context: Context, decision: Decision, found: Closing[Decision]) -> str:
        rules = (
            f", because of {', '.join(each.rules(context))}" if isinstance(each, UnitPass) else ", where its rules end"
        )
        what = "units" if decision.units else "blocks"
        gone = f"{decision.removed_count} of {decision.considered} {what} gone by {each.name}"
        return f"at most {self._figure(found.best.value)} with {gone}{rules}"

    def _figure(self, value: float) -> str:
        return f"latency={value:.3g}{self.target.unit}"

    def _steps_note(self, below: float | None, above: float | None) -> str:
        assert below is not None  # the target is met
        other = "the network as it was" if above is None else self._figure(above)
        return (
            f"the steps of this network do not come within {100 * TOLERANCE:.0f} % of {self.target}: the nearest are "
            f"{self._figure(below)} and {other}"
        )


def _above(found: Closing[Decision]) -> Reading[Decision] | None:
    """The shortest time that was measured above the asked one."""
    above = [reading for reading in found.readings if reading.value > found.asked]
    return min(above, key=lambda reading: reading.value, default=None)
