"""A plan carried out: the smaller model that it describes."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from graphprune.errors import OptionError, PlanError
from graphprune.model_folder import layout
from graphprune.pipeline.job import Job, Save, destination
from graphprune.pipeline.rounds import Rounds, noted
from graphprune.pipeline.sequence import Decided, carry_out
from graphprune.plan.faults import of_another_model
from graphprune.plan.plan import Plan
from graphprune.plan.target import GENERATION, Target
from graphprune.repair.stage import parse_methods
from graphprune.report.evidence.html_report import HtmlReport
from graphprune.report.result import Result
from graphprune.rewrite.apply import execute
from graphprune.run.loaded import LoadedRun, Source, check_source
from graphprune.run.notes import data_notes, growth_notes
from graphprune.run.options import RunOptions, given_options


def apply(
    source: Source,
    plan: Plan | str | os.PathLike[str],
    data: Any = None,
    output: str | os.PathLike[str] | None = None,
    *,
    allow_other_model: bool = False,
    options: RunOptions | None = None,
    save: Save | None = None,
) -> Result:
    """Make the smaller model a plan describes; validated and measured like :func:`prune`.

    ``allow_other_model`` accepts a file with another hash (the fp16 export, say) whose blocks have the same names.

    Raises
    ------
    PlanError
        The plan was made for another model, or names a block this model does not have.
    """
    started = time.perf_counter()
    options = given_options(options)
    check_source(source)
    if not isinstance(plan, str | os.PathLike | Plan):
        raise PlanError(f"the plan is of type {type(plan).__name__}", "give a Plan, or the path of its file")
    folder = layout.find(Path(source)) if layout.is_folder(source) else None
    model = folder.model_file if folder else source
    out = destination(output, source, model, data, options.data.evaluation, plan)
    report = HtmlReport(
        options, "apply", source=source, plan=plan, data=data, output=out, allow_other_model=allow_other_model
    )
    plan = plan if isinstance(plan, Plan) else Plan.load(Path(plan))
    job = Job(source, model, data, out, options, report, save, started, folder=folder)
    return carry_out(job, _GivenPlan(plan, allow_other_model))


@dataclass(frozen=True)
class _GivenPlan:
    """A plan that is there already."""

    plan: Plan
    allow_other_model: bool

    def options(self, loaded: LoadedRun, options: RunOptions) -> RunOptions:
        """Repairs and healing are those of the plan, where none are asked for.

        Raises
        ------
        PlanError
            The plan was made for another model.
        OptionError
            It has a repair, or linearises blocks, and there are no samples.
        """
        mine, theirs = loaded.model.sha256, self.plan.model_sha256
        if mine != theirs and not self.allow_other_model:
            raise PlanError(
                of_another_model(theirs, mine),
                "give that model, or --allow-other-model for another export of the same network",
            )
        if self.plan.linearised and loaded.data.kind == "synthetic":
            raise OptionError(
                f"the plan linearises {self.plan.linearised[0].name}, which fits a map to samples, and there are none",
                "add --data, best what the plan was made with",
            )
        named, heals = noted(self.plan)
        if options.recovery.heal is None:
            options = replace(options, recovery=replace(options.recovery, heal=heals))
        if options.recovery.repair is not None:
            return options
        if named and loaded.data.kind == "synthetic":
            raise OptionError(
                f"the plan has a repair ({','.join(named)}), which fits weights to samples, and there are none",
                "add --data, or --repair none to go without",
            )
        methods = parse_methods(",".join(named) or "none")
        return replace(options, recovery=replace(options.recovery, repair=methods))

    def decide(self, loaded: LoadedRun, rounds: Rounds, options: RunOptions) -> Decided:
        """Each decision of the plan, carried out."""
        small = loaded.analysis
        for decision in self.plan.decisions:
            small = execute(small, decision, rounds.fresh, loaded.feeds, options.runtime, rounds.fitted)
        notes = (
            *loaded.notes,
            *growth_notes(loaded.analysis.cost, small.cost),
            *data_notes(loaded.data, scores_need_data=True),
        )
        return Decided(self.plan, small, notes, self._latency(options))

    def _latency(self, options: RunOptions) -> Target | None:
        """The time that was asked for, if the written file is to be held against it."""
        is_time = self.plan.asked.startswith(("latency=", *(f"{kind}=" for kind in GENERATION)))
        return Target.parse(self.plan.asked) if is_time and options.timing.measure_latency else None
