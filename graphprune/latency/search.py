"""Passes run for a time: each is asked for proposals, candidates are rewritten in memory and measured whole.

Passes run in turn, each from what the one before left. A pass that removes blocks goes in steps;
where another pass follows, it stops above the asked time, and the last one closes the gap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.errors import OptionError
from graphprune.latency.clock import EndToEndTimer, NetworkClock
from graphprune.latency.closing import TOLERANCE, Closing, Reading, close_in
from graphprune.latency.phases import phase_timer
from graphprune.latency.table import LatencyProfiler
from graphprune.measure.alignment import HELD_FOR
from graphprune.measure.ort import OrtRuntime
from graphprune.measure.times_cache import Cache
from graphprune.pass_infra.base import CarryOut, Pass
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.proposals import Proposal, Proposals
from graphprune.plan.plan import Decision
from graphprune.plan.target import GENERATION, Target
from graphprune.rewrite.apply import execute
from graphprune.rewrite.linear_map import as_given
from graphprune.run.loaded import LoadedRun
from graphprune.run.options import RunOptions
from graphprune.runtime.sessions import Feeds

_ALL = 1e-6  # share of the MACs that no pass leaves: a pass that goes in steps is stopped by the clock


@dataclass
class LatencySearch:
    """The state of one run: ``reached`` is the measured time of what the passes so far left, in the clock's unit.

    ``feeds`` is one sample, to look at candidates with; ``known`` are the proposals of passes for networks, by which
    searches for several times share one scoring.
    """

    target: Target
    clock: NetworkClock
    profiler: LatencyProfiler
    feeds: Feeds
    known: dict[tuple[str, int], Proposals] = field(default_factory=dict)
    reached: float = field(init=False)

    @classmethod
    def of(
        cls, target: Target, loaded: LoadedRun, options: RunOptions, earlier: LatencySearch | None = None
    ) -> LatencySearch:
        """The search for the model of a run, on the wall clock; with the table and the scores of an ``earlier`` one.

        Raises
        ------
        OptionError
            Timing is switched off, training is to follow every removal, or the network does not generate.
        NothingToPrune
            The model is that fast already.
        """
        if not options.timing.measure_latency:
            raise OptionError(f"only a timing tells when {target} is reached", "leave out --no-bench")
        if options.recovery.finetune is not None and options.recovery.finetune_every == "removal":
            what = "a latency" if target.kind == "latency" else target.kind
            raise OptionError(
                f"{what} cannot be the target of training after every removal", "give flops=, params= or removed="
            )
        model, feeds = loaded.model, loaded.data.first(options.timing.batch)
        decoder = phase_timer(target, loaded, options) if target.kind in GENERATION else None
        if decoder is not None:
            feeds = decoder.feeds
        where = OrtRuntime(options.runtime).environment()
        key = {name: where[name] for name in HELD_FOR if name in where}
        shapes = {name: list(array.shape) for name, array in sorted(feeds.items())}
        key |= {"batch": options.timing.batch, "inputs": shapes, "model": model.sha256}
        profiler = LatencyProfiler(feeds, options.runtime, Cache(options.timing.cache_folder, key), options.progress)
        options.progress("measuring", 0, 0)
        seconds = options.timing.seconds
        clock: NetworkClock = decoder or EndToEndTimer(
            target, model.source, model.folder, feeds, options.runtime, seconds
        )
        if earlier is not None:
            return cls(target, clock, earlier.profiler, loaded.feeds, earlier.known)
        return cls(target, clock, profiler, loaded.feeds)

    @property
    def notes(self) -> tuple[str, ...]:
        """What became of the cached times."""
        return tuple(self.profiler.cache.notes)

    def __post_init__(self) -> None:
        self.reached = self.clock.dense

    @property
    def is_met(self) -> bool:
        """Whether the time is no longer than asked, to within the tolerance."""
        return self.reached <= self.clock.asked * (1 + TOLERANCE)

    def run(self, pass_: Pass, context: Context, carry_out: CarryOut) -> Iterator[tuple[Decision, ModelAnalysis]]:
        """What ``pass_`` removes for the target, carried out, with the limit that stopped it if it did not get there.

        Raises
        ------
        NothingToPrune
            The pass finds nothing.
        """
        analysis = context.analysis
        for decision in self._decisions(pass_, context):
            analysis = carry_out(analysis, decision)
            yield decision, analysis

    def _decisions(self, pass_: Pass, context: Context) -> list[Decision]:
        if self.is_met:
            return [Decision(str(pass_))]
        if pass_.goes_in_steps():
            return self._in_steps(pass_, context)
        pass_.requires(_without_end(context))
        key = (str(pass_), id(context.analysis))
        propose = self.known.get(key) or self.known.setdefault(key, pass_.proposals(context, self.profiler))
        found = close_in(self.clock.asked, self.reached, propose, self._measuring(pass_, context))
        best = found.best
        if not found.is_close and not context.goal.is_last and pass_.is_coarse:
            best = _above(found) or best
        self.reached = best.value
        decision = best.proposal.thing
        if not found.is_met:
            return [replace(decision, limit=self._limit(pass_, context, decision, found))]
        is_off = best is found.best and not found.is_close
        notes = (*decision.notes, *((self._steps_note(*found.neighbours()),) if is_off else ()))
        return [replace(decision, notes=notes)]

    def _measuring(self, pass_: Pass, context: Context) -> Callable[[Proposal[Decision]], float]:
        def measure(proposal: Proposal[Decision]) -> float:
            context.execution.progress(f"{pass_.name}: timing a candidate", 0, 0)
            if not proposal.thing.removed_count:
                return self.reached
            pass_.ensures(context, proposal.thing)
            return self.clock.time(self._carried_out(context)(context.analysis, proposal.thing).model)

        return measure

    def _carried_out(self, context: Context) -> CarryOut:
        """To look at: nobody asks for the removals, and a linear map takes the same time whatever its numbers."""
        feeds, runtime = self.feeds, context.execution.runtime
        return lambda analysis, decision: execute(analysis, decision, [], feeds, runtime, as_given)

    def _in_steps(self, pass_: Pass, context: Context) -> list[Decision]:
        """A pass that makes one decision after another is stopped when the time is reached."""
        decisions: list[Decision] = []
        for decision, analysis in pass_.run(_without_end(context), self._carried_out(context)):
            before = self.reached
            decisions.append(replace(decision, limit=""))
            self.reached = self.clock.time(analysis.model)
            if self.is_met:
                if self.reached < self.clock.asked * (1 - TOLERANCE):
                    note = self._steps_note(self.reached, before)
                    decisions[-1] = replace(decision, limit="", notes=(*decision.notes, note))
                return decisions
        if decisions:
            limit = f"at most {self._figure(self.reached)}, where {pass_} ends"
            decisions[-1] = replace(decisions[-1], limit=limit)
        return decisions

    def _limit(self, pass_: Pass, context: Context, decision: Decision, found: Closing[Decision]) -> str:
        rules = ", ".join(pass_.limit_rules(context))
        why = f", because of {rules}" if rules else ", where its rules end"
        what = "units" if decision.units else "blocks"
        gone = f"{decision.removed_count} of {decision.considered} {what} gone by {pass_.name}"
        return f"at most {self._figure(found.best.value)} with {gone}{why}"

    def _figure(self, value: float) -> str:
        return f"{self.target.kind}={self.target.turned(value):.3g}{self.target.unit}"

    def _steps_note(self, below: float | None, above: float | None) -> str:
        assert below is not None  # the target is met
        other = "the network as it was" if above is None else self._figure(above)
        return (
            f"the steps of this network do not come within {100 * TOLERANCE:.0f} % of {self.target}: the nearest are "
            f"{self._figure(below)} and {other}"
        )


def _without_end(context: Context) -> Context:
    """For a pass that is stopped by the clock, not by its target: a share of the MACs that it never reaches."""
    return replace(context, goal=replace(context.goal, target=Target("flops", _ALL), is_last=False))


def _above(found: Closing[Decision]) -> Reading[Decision] | None:
    """The shortest time that was measured above the asked one."""
    above = [reading for reading in found.readings if reading.value > found.asked]
    return min(above, key=lambda reading: reading.value, default=None)
