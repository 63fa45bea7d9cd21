"""A plan carried out: the smaller model that it describes."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphprune.errors import PlanError
from graphprune.ir import output_files
from graphprune.pipeline.rounds import Rounds
from graphprune.plan.plan import Plan
from graphprune.repair.stage import parse_methods
from graphprune.report.evidence.html_report import HtmlReport
from graphprune.report.result import Result
from graphprune.rewrite.apply import execute
from graphprune.run.loaded import Source, prepare
from graphprune.run.options import RunOptions

if TYPE_CHECKING:
    pass
from graphprune.pipeline.finish import Save, finish, result_of, training_data


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
    options = options or RunOptions()
    out = output_files.output_path(output, source, data, options.evaluation, plan)
    report = HtmlReport(options, "apply", source=source, plan=plan, data=data, output=out,
                    allow_other_model=allow_other_model)  # fmt: skip
    plan = plan if isinstance(plan, Plan) else Plan.load(Path(plan))
    subject = prepare(source, data, options)
    output_files.spare_weights(out, subject.model)
    mine, theirs = subject.model.sha256, plan.model_sha256
    if mine != theirs and not allow_other_model:
        raise PlanError(
            f"the plan was made for another model (sha256 {theirs[:12]}..., this one is {mine[:12]}...)",
            "give that model, or --allow-other-model for another export of the same network",
        )
    if options.repair is None and subject.data.kind != "synthetic":
        options = replace(options, repair=parse_methods(",".join(plan.repair) or "none"))
    if options.finetune is not None and options.training_data is None:
        options = replace(options, training_data=training_data(data))
    rounds = Rounds(subject, options)
    small = subject.analysis
    for decision in plan.decisions:
        small = execute(small, decision, rounds.fresh, subject.feeds, options.runtime)
    result = result_of(source, subject, plan, small, subject.notes)
    return finish(result, subject, rounds, small, out, options, started, save, report)
