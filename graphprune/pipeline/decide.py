"""The passes in turn, each on what the one before left."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.errors import OptionError, TargetNotReached
from graphprune.ir.export import to_proto
from graphprune.latency.search import LatencySearch
from graphprune.measure.ort import measure
from graphprune.pass_infra.base import Pass
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.width_policy import WidthPolicy
from graphprune.pipeline.between import verify
from graphprune.pipeline.rounds import Rounds, repairs
from graphprune.plan.goal import Goal
from graphprune.plan.plan import Decision
from graphprune.plan.target import OWN_RULE, Target
from graphprune.repair.history import History
from graphprune.repair.refits import Refits
from graphprune.rewrite.apply import execute
from graphprune.run.loaded import LoadedRun
from graphprune.run.options import RunOptions
from graphprune.runtime.execution import Execution
from graphprune.workers import Workers

_STEP_SECONDS = 0.5  # of timing at most after each step of a trajectory


def decide(
    loaded: LoadedRun,
    passes: Sequence[Pass],
    target: Target,
    options: RunOptions,
    rounds: Rounds,
    workers: Workers | None,
    search: LatencySearch | None,
    *,
    dry_run: bool,
) -> tuple[list[Decision], ModelAnalysis]:
    """Run the passes in turn, each on what the one before left; with training, a round ends before the next begins."""
    small = loaded.analysis
    decisions: list[Decision] = []
    check_align(options)
    trains = options.recovery.finetune is not None and not dry_run
    in_rounds = trains and options.recovery.finetune_every == "removal"
    if in_rounds and target.kind == "ratio":
        raise OptionError(
            "a ratio cannot be the target of training after every removal", "give flops=, params= or removed="
        )

    def carry_out(analysis: ModelAnalysis, decision: Decision) -> ModelAnalysis:
        return execute(analysis, decision, rounds.fresh, loaded.feeds, options.runtime, rounds.fitted)

    for pass_ in passes:
        while True:
            if trains and rounds.fresh:
                small = rounds.close(small)
            goal = Goal(
                target=target,
                dense=loaded.analysis.cost,
                removed_before=sum(earlier.removed_count for earlier in decisions),
                considered_before=sum(earlier.considered for earlier in decisions),
                is_last=pass_ is passes[-1],
                in_rounds=in_rounds,
            )
            history = History(loaded.model, rounds.steps, not rounds.fresh, repairs(options, loaded.data))
            context = context_of(loaded, small, goal, history, rounds.refits, workers, options)
            started = time.perf_counter()
            for decision, after in search.run(pass_, context, carry_out) if search else pass_.run(context, carry_out):
                small = after
                seconds = time.perf_counter() - started
                for look in (verify, *options.between):
                    look(decision, small, seconds)
                if decision.trajectory and options.timing.measure_latency and not dry_run:
                    decision = _timed(decision, loaded, small, options)
                decisions.append(decision)
                started = time.perf_counter()
            is_done = search is not None or goal.is_met(small.cost, decision.removed_count, decision.considered)
            if is_done or not in_rounds or decision.limit or not decision.removed_count:
                break
    return decisions, small


def check_align(options: RunOptions) -> None:
    """Refuse multiples that there are none of.

    Raises
    ------
    OptionError
        Of less than 1.
    """
    if options.align != "auto" and options.align < 1:
        raise OptionError(f"widths cannot be kept in multiples of {options.align}", "give align=1 or more, or auto")


def context_of(
    loaded: LoadedRun,
    small: ModelAnalysis,
    goal: Goal,
    history: History,
    refits: Refits,
    workers: Workers | None,
    options: RunOptions,
) -> Context:
    """What the next pass is told."""
    return Context(
        analysis=small,
        data=loaded.data,
        goal=goal,
        widths=WidthPolicy(options.align, options.runtime, options.timing.cache_folder),
        history=history,
        execution=Execution(options.batch, options.runtime, options.progress, workers),
        seed=options.seed,
        bench_batch=options.timing.batch,
        refits=refits,
    )


def _timed(decision: Decision, loaded: LoadedRun, small: ModelAnalysis, options: RunOptions) -> Decision:
    """The last step of ``decision`` with its time, measured against the dense network."""
    feeds, model = loaded.data.first(options.timing.batch), loaded.model
    seconds = min(options.timing.seconds, _STEP_SECONDS)
    timing = measure(
        model.source, to_proto(small.model), feeds, options.runtime, folder=model.folder, min_seconds=seconds
    )
    *earlier, last = decision.trajectory
    return replace(decision, trajectory=(*earlier, replace(last, latency_ratio=timing.comparison.ratio)))


def not_reached(target: Target, decisions: Sequence[Decision], reached: float) -> TargetNotReached:
    """What is said where the passes ended before the target."""
    limits = "; ".join(dict.fromkeys(decision.limit for decision in decisions if decision.limit))
    limits = limits or f"{reached:.4g} is where the passes ended"
    if target == OWN_RULE:
        return TargetNotReached(f"nothing goes: {limits}", "relax the rules of the pass, or take another")
    return TargetNotReached(f"the target {target} cannot be reached: {limits}", "ask for less, or relax the rules")
