"""The sequence: load, find, decide, rewrite, validate, repair, train, measure, write. The command and the API both end here."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import graphprune
from graphprune import passes as registry
from graphprune.errors import OptionError, TargetNotReached
from graphprune.ir import output_files
from graphprune.latency.search import LatencySearch
from graphprune.pass_infra.base import Pass, parse_spec
from graphprune.pipeline.decide import decide
from graphprune.pipeline.finish import Save, finish, result_of, training_data
from graphprune.pipeline.rounds import Rounds, repairs
from graphprune.plan.plan import Plan
from graphprune.plan.target import Target
from graphprune.report.evidence.html_report import HtmlReport
from graphprune.report.result import Result
from graphprune.run.loaded import CHECKS_ONLY_NOTE, NO_DATA_NOTE, Source, prepare
from graphprune.run.options import RunOptions
from graphprune.torch_bridge.module_input import is_module, proto_of
from graphprune.workers import hired

DEFAULT_TARGET = Target("flops", 0.8)

if TYPE_CHECKING:
    from torch import nn


def prune(
    source: Source | nn.Module,
    passes: Sequence[Pass | str],
    data: Any = None,
    target: Target | str | None = None,
    output: str | os.PathLike[str] | None = None,
    *,
    dry_run: bool = False,
    options: RunOptions | None = None,
    save: Save | None = None,
    example: Any = None,
) -> Result:
    """Prune a model; the same as ``graphprune SOURCE --pass ... --data ... --target ... -o OUTPUT``.

    ``source`` may be a ``torch.nn.Module``: it is exported as it is called with ``example`` (a tensor, a tuple, a dict by
    argument; default: the first samples of ``data``), and ``result.module()`` is the pruned one. The module given is not touched.
    Without ``output`` nothing stays on disk and ``result.model`` holds the model; with ``dry_run`` the decision is all.

    Raises
    ------
    GraphpruneError
        One of its subclasses; see :mod:`graphprune.errors`. No output file is left behind.
    """
    started = time.perf_counter()
    options = options or RunOptions()
    chosen = [parse_spec(p, registry.find) if isinstance(p, str) else p for p in passes]
    if not chosen:
        raise OptionError("no pass was given", f"add --pass NAME; the passes are: {', '.join(registry.names())}")
    wanted = _wanted(target, chosen)
    given = proto_of(source, example, data) if is_module(source) else source
    out = output_files.output_path(output, given, data, options.evaluation)
    report = HtmlReport(options, "prune", source=source, passes=list(map(str, chosen)), data=data, target=str(wanted),
                    output=out, dry_run=dry_run)  # fmt: skip
    subject = prepare(given, data, options)
    output_files.spare_weights(out, subject.model)
    if options.finetune is not None and options.training_data is None:
        options = replace(options, training_data=training_data(data))
    rounds = Rounds(subject, options)
    search = LatencySearch.of(wanted, subject, options) if wanted.kind == "latency" else None
    with hired(options.jobs, options.backend, options.cluster) as workers:
        decisions, small = decide(subject, chosen, wanted, options, rounds, workers, search, dry_run=dry_run)
    dense, after = subject.analysis.cost, small.cost
    removed = sum(decision.removed_count for decision in decisions)
    considered = sum(decision.considered for decision in decisions)
    plan = Plan(
        model_sha256=subject.model.sha256,
        decisions=tuple(decisions),
        asked=str(wanted),
        reached=search.reached if search else wanted.reached(dense, after, removed, considered),
        repair=repairs(options, subject.data),
        seed=options.seed,
        data={"kind": subject.data.kind, "origin": subject.data.origin, "limit": subject.data.limit},
        tool=f"graphprune {graphprune.__version__}",
    )
    if not (search.is_met if search else wanted.is_met(dense, after, removed, considered)):
        limits = "; ".join(dict.fromkeys(decision.limit for decision in decisions if decision.limit))
        limits = limits or f"{plan.reached:.4g} is where the passes ended"
        raise TargetNotReached(f"the target {wanted} cannot be reached: {limits}", "ask for less, or relax the rules")
    is_default = target is None and wanted is DEFAULT_TARGET
    told = subject.notes if any(each.needs_data for each in chosen) else _relaxed(subject.notes)
    notes = (*told, *((f"no target was given: {wanted}",) if is_default else ()))
    told_by = (
        *(search.notes if search else ()),
        *(note for decision in decisions for note in decision.notes),
        *(workers.notes if workers else ()),
    )
    notes = tuple(dict.fromkeys((*notes, *told_by)))
    result = result_of(source, subject, plan, small, notes)
    if dry_run:
        result = replace(result, seconds=time.perf_counter() - started)
        with report.written() as write_report:
            write_report(result, subject, small)
            if save is not None:
                save(result)
        return result
    return finish(result, subject, rounds, small, out, options, started, save, report)


def _wanted(target: Target | str | None, passes: Sequence[Pass]) -> Target:
    """The target; where none was given the ratio that all passes have, or the default."""
    if target is not None:
        return target if isinstance(target, Target) else Target.parse(target)
    ratios = {getattr(each, "ratio", None) for each in passes}
    if len(ratios) > 1:
        raise OptionError(
            "the passes have different ratios and there is no target",
            "add --target; a ratio is then the most that its pass may take",
        )
    ratio = ratios.pop()
    return DEFAULT_TARGET if ratio is None else Target("ratio", ratio)


def _relaxed(notes: tuple[str, ...]) -> tuple[str, ...]:
    """The warning for passes whose scores do not come from the data."""
    return tuple(CHECKS_ONLY_NOTE if note == NO_DATA_NOTE else note for note in notes)
