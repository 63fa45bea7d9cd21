"""Several targets from one scoring and one table of times: a file and a plan for each."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from graphprune.base.progress import headed
from graphprune.errors import GraphpruneError, NotFaster, OptionError, TargetNotReached
from graphprune.evaluation import drop
from graphprune.evaluation.metric import load_metric
from graphprune.ir import output_files
from graphprune.latency.search import LatencySearch
from graphprune.model_folder import layout
from graphprune.pass_infra.base import Pass
from graphprune.pipeline.cuts import ScoredCuts
from graphprune.pipeline.decide import decide, not_reached
from graphprune.pipeline.job import Job, destination
from graphprune.pipeline.prune import PassesInTurn, chosen_passes
from graphprune.pipeline.rounds import Rounds
from graphprune.pipeline.sequence import Decided, carry_out
from graphprune.plan.target import Target
from graphprune.report.candidates import CandidatesFile, MadeCandidate, on_front
from graphprune.report.evidence.html_report import HtmlReport
from graphprune.report.html.candidates_page import write_candidates_page
from graphprune.report.result import Result
from graphprune.run.loaded import LoadedRun, Source, check_source, prepare
from graphprune.run.options import RunOptions, given_options
from graphprune.run.samples import with_held_out

_SPREAD = Target("flops", 0.5)


def candidates(
    source: Source,
    passes: Sequence[Pass | str] | Pass | str,
    data: Any = None,
    targets: Sequence[Target | str] | Target | str | None = None,
    output: str | os.PathLike[str] | None = None,
    *,
    count: int | None = None,
    options: RunOptions | None = None,
) -> tuple[CandidatesFile, list[Result | None]]:
    """Several results of one network, the same as ``graphprune SOURCE --candidates COUNT``: scored once.

    ``targets`` are several, or one that ``count`` candidates are spread up to (default: flops=0.5). ``output`` is the
    name of all: ``small.onnx`` stands for ``small.1.onnx`` with ``small.1.plan.json``, and so on. They are judged on
    the evaluation data or on a part of ``data`` that is then held out.

    Raises
    ------
    GraphpruneError
        One of its subclasses; where not one target is met, what the last of them says.
    """
    options, chosen = given_options(options), chosen_passes(passes)
    check_source(source)
    wanted = spread(targets, count)
    report, options = options.report, replace(options, report=None)
    if data is not None:
        options = with_held_out(options)
    folder = layout.find(Path(source)) if layout.is_folder(source) else None
    model = folder.model_file if folder else source
    places = [numbered(output, source, number + 1) for number in range(len(wanted))]
    outputs = [destination(place, source, model, data, options.data.evaluation) for place in places]
    if report is not None:
        output_files.output_path(report, source, data, options.data.evaluation)
    loaded = prepare(model, data, options)
    found: list[MadeCandidate] = []
    results: list[Result | None] = []
    last: GraphpruneError | None = None
    metric = None if options.data.metric is None else load_metric(options.data.metric)[1]
    with ScoredCuts(loaded, tuple(chosen), options, None) as cuts:
        state = _Shared(cuts)
        for number, (target, out) in enumerate(zip(wanted, outputs, strict=True)):
            head = f"candidate {number + 1} of {len(wanted)}, {target}"
            run = replace(options, progress=headed(options.progress, head))
            plan = None if out is None else plan_path(out)
            if plan is not None:
                output_files.output_path(plan, source, data)
            html = HtmlReport(run, "prune")
            job = Job(source, model, data, out, run, html, _saver(plan), time.perf_counter(), folder=folder)
            try:
                result = carry_out(job, _FromCuts(PassesInTurn(chosen, target), state, target), loaded)
            except (NotFaster, TargetNotReached) as error:
                last = error
                found.append(MadeCandidate(str(target), why=error.message))
                results.append(None)
                continue
            lost = None if result.evaluation is None else drop.estimate(result.evaluation, metric)
            found.append(MadeCandidate.of(str(target), result, plan, lost))
            results.append(result)
    if last is not None and not any(results):
        raise last
    found = [replace(one, is_front=front) for one, front in zip(found, on_front(found), strict=True)]
    cost = loaded.analysis.cost
    named = os.fspath(data) if isinstance(data, str | os.PathLike) else None
    shown = os.fspath(source) if isinstance(source, str | os.PathLike) else f"a {type(source).__name__}"
    summary = CandidatesFile(shown, cost.macs, cost.params, loaded.file_bytes, named, found)
    if report is not None:
        write_candidates_page(report, summary)
    return summary, results


def spread(targets: Sequence[Target | str] | Target | str | None, count: int | None) -> list[Target]:
    """The targets listed, or ``count`` of them in even steps up to the one given.

    Raises
    ------
    OptionError
        There are fewer than two, or both a list and a number, or no steps lead to the target.
    """
    listed: list[Target | str] = []
    if isinstance(targets, str):
        kind = targets.partition("=")[0]  # flops=0.8,0.6 names it once
        listed += [each if "=" in each else f"{kind}={each}" for each in targets.split(",")]
    elif targets is not None:
        listed += [targets] if isinstance(targets, Target) else targets
    wanted = [each if isinstance(each, Target) else Target.parse(each) for each in listed]
    if len(wanted) > 1 and count is not None:
        raise OptionError("targets are listed, and a number of candidates is given", "leave one of the two out")
    if len(wanted) > 1:
        return wanted
    if count is None or count < 2:
        raise OptionError("one candidate is no choice", "ask for 2 or more, or list targets: flops=0.8,0.6")
    far = wanted[0] if wanted else _SPREAD
    if far.unit or far.kind in ("rule", "tokens-per-s"):
        raise OptionError(f"candidates cannot be spread up to {far}", f"list targets: {far.kind}=A,B,C")
    if far.kind == "removed":
        return [
            Target("removed", number) for number in sorted({round(far.value * n / count) for n in _up_to(count)} - {0})
        ]
    if far.kind == "ratio":
        return [replace(far, value=far.value * n / count) for n in _up_to(count)]
    return [replace(far, value=round(1 - (1 - far.value) * n / count, 6)) for n in _up_to(count)]


def numbered(output: str | os.PathLike[str] | None, source: Any, number: int) -> Path | None:
    """``small.onnx`` as ``small.1.onnx``; a folder, or what is to be one, as ``small.1``."""
    if output is None:
        return None
    if layout.is_folder(source):
        return Path(f"{os.fspath(output).rstrip('/')}.{number}")
    path = output_files.named_output(
        output, Path(source if isinstance(source, str | os.PathLike) else "model"), "pruned"
    )
    return path.with_name(f"{path.stem}.{number}{path.suffix}")


def plan_path(out: Path) -> Path:
    """The plan beside a candidate."""
    return out.with_name(f"{out.name.removesuffix('.onnx')}.plan.json")


def _up_to(count: int) -> range:
    return range(1, count + 1)


def _saver(plan: Path | None) -> Any:
    return None if plan is None else lambda result: result.plan.save(plan)


@dataclass
class _Shared:
    """What one target leaves for the next: the scores, and the table of times."""

    cuts: ScoredCuts
    search: LatencySearch | None = None


@dataclass(frozen=True)
class _FromCuts:
    """Passes that have scored before."""

    turns: PassesInTurn
    shared: _Shared
    target: Target

    def options(self, loaded: LoadedRun, options: RunOptions) -> RunOptions:
        """As the passes have them."""
        return self.turns.options(loaded, options)

    def decide(self, loaded: LoadedRun, rounds: Rounds, options: RunOptions) -> Decided:
        """What goes for the target, carried out.

        Raises
        ------
        TargetNotReached
            It is out of reach.
        """
        if self.target.is_time:
            search = self.shared.search = LatencySearch.of(self.target, loaded, options, self.shared.search)
            passes = self.turns.passes
            decisions, small = decide(loaded, passes, self.target, options, rounds, None, search, dry_run=False)
            if not search.is_met:
                raise not_reached(self.target, decisions, self.target.turned(search.reached))
            reached = self.target.turned(search.reached)
            return self.turns.decided(loaded, decisions, small, options, None, reached, search.notes)
        rounds.refits = self.shared.cuts.refits
        cut = self.shared.cuts.at(self.target)
        reached = cut.reached(loaded.analysis.cost)
        if not cut.is_met:
            raise not_reached(self.target, cut.decisions, reached)
        rounds.fresh.extend(cut.steps)
        return self.turns.decided(loaded, cut.decisions, cut.small, options, None, reached)
