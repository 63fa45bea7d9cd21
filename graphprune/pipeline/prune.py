"""A model pruned by passes until a target is reached. The command and the API both end here."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import graphprune
from graphprune import passes as registry
from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.errors import DataError, OptionError
from graphprune.latency.search import LatencySearch
from graphprune.model_folder import layout
from graphprune.pass_infra.base import Pass, parse_spec
from graphprune.pipeline.decide import decide, not_reached
from graphprune.pipeline.job import Job, Save, destination
from graphprune.pipeline.rivals import AUTO, Rivals
from graphprune.pipeline.rounds import Rounds, healing_noted, repairs
from graphprune.pipeline.sequence import Decided, Decider, carry_out
from graphprune.pipeline.within_budget import WithinBudget
from graphprune.plan.max_drop import MaxDrop
from graphprune.plan.plan import Decision, Plan
from graphprune.plan.target import OWN_RULE, Target
from graphprune.report.evidence.html_report import HtmlReport
from graphprune.report.result import Result
from graphprune.run.loaded import LoadedRun, Source, check_source
from graphprune.run.notes import NoteKind, data_notes, growth_notes, notes_of
from graphprune.run.options import RunOptions, given_options
from graphprune.run.samples import with_held_out
from graphprune.torch_bridge.module_input import is_module, proto_of
from graphprune.workers import Workers, hired

DEFAULT_TARGET = Target("flops", 0.8)

if TYPE_CHECKING:
    from torch import nn


def prune(
    source: Source | nn.Module,
    passes: Sequence[Pass | str] | Pass | str,
    data: Any = None,
    target: Target | str | None = None,
    output: str | os.PathLike[str] | None = None,
    *,
    max_drop: MaxDrop | str | float | None = None,
    dry_run: bool = False,
    options: RunOptions | None = None,
    save: Save | None = None,
    example: Any = None,
) -> Result:
    """Prune a model; the same as ``graphprune SOURCE --pass ... --data ... --target ... -o OUTPUT``.

    ``passes`` may be a single one; ``"auto"`` tries those that are sensible for the network and takes the best, judged
    on the evaluation data or on a part of ``data`` that is then held out. ``source`` may be a ``torch.nn.Module``: it
    is exported as it is called with ``example`` (a tensor, a tuple, a dict by argument; default: the first samples of
    ``data``), and ``result.module()`` is the pruned one. The module given is not touched. It may be a folder with a
    model in it, as the tools for language models lay it down: then ``output`` is a folder, too. Without ``output``
    nothing stays on disk and ``result.model`` holds the model; with ``dry_run`` the decision is all.

    With ``max_drop`` ("1%", or 0.01) the result loses no more than that on held-out samples, by the upper end of a 95 %
    interval: on ``options.data.evaluation``, or on a part of ``data`` that is then kept from passes and repair. Without
    a target it is the largest cut that does.

    Raises
    ------
    GraphpruneError
        One of its subclasses; see :mod:`graphprune.errors`. No output file is left behind.
    """
    started = time.perf_counter()
    options = given_options(options)
    budget = max_drop if isinstance(max_drop, MaxDrop | None) else MaxDrop.parse(str(max_drop))
    if budget is not None:
        options = with_held_out(options)
    if not is_module(source):
        check_source(source)
    is_auto = passes == AUTO or (isinstance(passes, list | tuple) and list(passes) == [AUTO])
    chosen = [] if is_auto else chosen_passes(passes)
    wanted = _wanted(target, chosen)
    if is_auto and data is not None:
        options = with_held_out(options)
    is_default = target is None and wanted is DEFAULT_TARGET and budget is None
    folder = layout.find(Path(source)) if layout.is_folder(source) else None
    model = folder.model_file if folder else proto_of(source, example, data) if is_module(source) else source
    out = destination(output, source, model, data, options.data.evaluation)
    report = HtmlReport(
        options,
        "prune",
        source=source,
        passes=list(map(str, chosen)) or [AUTO],
        data=data,
        target=None if budget is not None and target is None else str(wanted),
        max_drop=None if budget is None else str(budget),
        output=out,
        dry_run=dry_run,
    )
    job = Job(source, model, data, out, options, report, save, started, dry_run, folder)

    def decider(passes: Sequence[Pass]) -> Decider:
        turns = PassesInTurn(passes, wanted, is_default=is_default, dry_run=dry_run)
        if budget is None:
            return turns
        return WithinBudget(turns, tuple(passes), None if target is None else wanted, budget, data)

    is_given = budget is not None and target is None
    return carry_out(job, Rivals(lambda each: decider([each]), data, is_given) if is_auto else decider(chosen))


def chosen_passes(passes: Sequence[Pass | str] | Pass | str) -> list[Pass]:
    """The passes, of which one may stand alone, by name or with its default options.

    Raises
    ------
    OptionError
        There is none, or something else among them.
    """
    if not isinstance(passes, str | Pass | type | Iterable):
        raise OptionError(f"passes is of type {type(passes).__name__}", "give its name, or one of graphprune's passes")
    given = [passes] if isinstance(passes, str | Pass | type) else list(passes)
    chosen = []
    for each in given:
        found = parse_spec(each, registry.find) if isinstance(each, str) else each() if isinstance(each, type) else each
        if not isinstance(found, Pass):
            raise OptionError(f"a {type(found).__name__} is no pass", "give its name, or one of graphprune's passes")
        found.check_types()
        chosen.append(found)
    if not chosen:
        raise OptionError("no pass was given", f"add --pass NAME; the passes are: {', '.join(registry.names())}")
    return chosen


def _wanted(target: Target | str | None, passes: Sequence[Pass]) -> Target:
    """The target; where none was given the ratio or the rule that all passes have, or the default."""
    own = {pass_.own_target() for pass_ in passes} or {None}
    if target is not None:
        wanted = target if isinstance(target, Target) else Target.parse(target)
        if wanted == OWN_RULE and own != {OWN_RULE}:
            without = next(pass_.name for pass_ in passes if pass_.own_target() != OWN_RULE)
            raise OptionError(f"pass {without} has no rule of its own for how much goes", "name another --target")
        return wanted
    if len(own) > 1 and OWN_RULE in own:
        own = own - {OWN_RULE} | {None}
    if len(own) > 1:
        raise OptionError(
            "the passes have different ratios and there is no target",
            "add --target; a ratio is then the most that its pass may take",
        )
    return own.pop() or DEFAULT_TARGET


@dataclass(frozen=True)
class PassesInTurn:
    """Passes that decide, one after the other."""

    passes: Sequence[Pass]
    target: Target
    is_default: bool = False
    dry_run: bool = False

    def options(self, loaded: LoadedRun, options: RunOptions) -> RunOptions:
        """As given, with the repair of a pass that has one of its own where none is asked for.

        Raises
        ------
        DataError
            A pass scores on samples, there are none, and something is to be written.
        """
        blind = [each.name for each in self.passes if each.needs_data]
        is_refused = loaded.data.kind == "synthetic" and not (options.data.allow_made_up or self.dry_run)
        if blind and is_refused:
            raise refused_scores(blind[0])
        if options.recovery.repair is not None:
            return options
        own = (each.own_repair(loaded.analysis, loaded.data) for each in self.passes)
        return replace(
            options, recovery=replace(options.recovery, repair=next((each for each in own if each is not None), None))
        )

    def decide(self, loaded: LoadedRun, rounds: Rounds, options: RunOptions) -> Decided:
        """Run the passes until the target is met.

        Raises
        ------
        TargetNotReached
            It is not.
        """
        target, who = self.target, options.workers
        search = LatencySearch.of(target, loaded, options) if target.is_time else None
        with hired(who.jobs, who.backend, who.cluster) as workers:
            decisions, small = decide(
                loaded, self.passes, target, options, rounds, workers, search, dry_run=self.dry_run
            )
        dense, after = loaded.analysis.cost, small.cost
        removed = sum(decision.removed_count for decision in decisions)
        considered = sum(decision.considered for decision in decisions)
        reached = target.turned(search.reached) if search else target.reached(dense, after, removed, considered)
        found = self.decided(loaded, decisions, small, options, workers, reached, search.notes if search else ())
        if not (search.is_met if search else target.is_met(dense, after, removed, considered)):
            raise not_reached(target, decisions, reached)
        return found

    def decided(
        self,
        loaded: LoadedRun,
        decisions: Sequence[Decision],
        small: ModelAnalysis,
        options: RunOptions,
        workers: Workers | None,
        reached: float,
        cached_times: Sequence[str] = (),
    ) -> Decided:
        """What the decisions come to: the plan, in which ``reached`` is the target's figure, and the notes."""
        target = self.target
        plan = Plan(
            model_sha256=loaded.model.sha256,
            decisions=tuple(decisions),
            asked=str(target),
            reached=reached,
            repair=(*repairs(options, loaded.data), *healing_noted(options)),
            seed=options.seed,
            data=loaded.data.facts(),
            tool=f"graphprune {graphprune.__version__}",
        )
        notes = (
            *loaded.notes,
            *growth_notes(loaded.analysis.cost, small.cost),
            *data_notes(loaded.data, scores_need_data=any(each.needs_data for each in self.passes)),
            *notes_of(NoteKind.DEFAULT_TARGET, [f"no target was given: {target}"] if self.is_default else ()),
            *notes_of(NoteKind.CACHED_TIMES, cached_times),
            *notes_of(NoteKind.SCORES, (note for decision in decisions for note in decision.notes)),
            *notes_of(NoteKind.WORKERS, workers.notes if workers else ()),
        )
        return Decided(plan, small, notes, target if target.is_time else None)


def refused_scores(name: str) -> DataError:
    """What is said where a pass of this name would be kept to scores of made-up inputs."""
    return DataError(
        f"{name} scores on samples, and there are none: scores of made-up inputs mean little",
        "add --data, or --allow-made-up-data if you mean it; filter-magnitude needs no data",
    )
