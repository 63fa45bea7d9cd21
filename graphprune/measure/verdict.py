"""Never slower: a result that takes as long as the original is refused, with the reason and what would help."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import onnx

from graphprune.analysis.cost import Cost
from graphprune.errors import NotFaster
from graphprune.measure.alignment import multiple_for
from graphprune.measure.optimised import operators
from graphprune.measure.overhead import overhead_ms
from graphprune.measure.runtime import Measurement
from graphprune.plan.multiples import WHOLE_KINDS, narrowed
from graphprune.plan.plan import Plan
from graphprune.runtime.sessions import RuntimeOptions

_NAMED = 3
_LAUNCH_BOUND = 0.5  # of the time spent on starting operators


@dataclass(frozen=True)
class TimedCut:
    """An ``original``, whose external data lie in ``folder``, what ``plan`` has left of it, and ``costs`` before and
    after, on what ``options`` say. ``cache_dir`` keeps the times that tell which widths the runtime likes;
    ``is_align_auto`` says that the cut kept to them as far as its target let it.
    """

    original: Path | onnx.ModelProto
    pruned: Path | onnx.ModelProto
    folder: Path | None
    plan: Plan
    costs: tuple[Cost, Cost]
    options: RuntimeOptions
    cache_dir: Path | None
    is_align_auto: bool


def refuse_slower(measurement: Measurement, cut: TimedCut) -> None:
    """Accept a ``measurement`` whose whole interval says faster.

    Raises
    ------
    NotFaster
        It does not.
    """
    times = measurement.comparison
    if times.ratio_high < 1:
        return
    run_ms, batch = times.first.median_ms, measurement.batch
    reasons, advice = explained(run_ms, batch, cut)
    low, high = times.ratio_low, times.ratio_high
    sign = "slower" if low > 1 else "no faster"
    where = measurement.environment
    raise NotFaster(
        f"the result is {sign} than the original on {where['runtime']}, {where['provider']}, batch "
        f"{measurement.batch}: "
        f"{times.ratio:.2f} times its time [{low:.3f}, {high:.3f}] ({'; '.join(reasons)}); nothing was written",
        f"{', '.join(advice)}; or --allow-slower" if advice else "--allow-slower writes it all the same",
    )


def explained(run_ms: float, batch: int, cut: TimedCut) -> tuple[list[str], list[str]]:
    """Why a cut saves no time, one reason at least, and what would help; a run of the original takes ``run_ms``."""
    reasons, advice = [], []
    plan, options = cut.plan, cut.options
    if not (plan.blocks or plan.units):
        reasons.append("nothing was removed")
    counts = [operators(model, options, cut.folder) for model in (cut.original, cut.pruned)]
    odd = odd_widths(plan, multiple_for(options, cut.cache_dir)) if plan.units else []  # nothing is measured for blocks
    if odd:
        more = f" and {len(odd) - _NAMED} more" if len(odd) > _NAMED else ""
        reasons.append(f"odd widths: {'; '.join(odd[:_NAMED])}{more}")
        advice.append("a target that such multiples reach" if cut.is_align_auto else "--align auto")
    if counts[0] is not None and counts[1] is not None:
        lost = fusion_lost(counts[0], counts[1])
        if lost:
            reasons.append(f"fusions lost: the runtime needs {lost} more than for the original")
        nodes = counts[0].total()
        idle = overhead_ms(nodes, options)
        if idle > _LAUNCH_BOUND * run_ms:
            reasons.append(
                f"bound by launches: of {run_ms:.3f} ms, {idle:.3f} go into starting {nodes} operators, "
                "however little they compute"
            )
            advice.append(f"a larger --batch than {batch}")
    if not plan.blocks:
        advice.append("a pass that removes layers, such as layer-cka")
    if not reasons:
        before, after = cut.costs
        share = 1 - after.macs / max(1, before.macs)
        reasons.append(f"the {100 * share:.1f} % of the MACs that went take no measurable time here")
        advice.insert(0, "a target that takes more")
    return reasons, advice


def odd_widths(plan: Plan, multiple: int) -> list[str]:
    """The groups of which no multiple of what the kernels like was kept, in words, the widest first."""
    last = {units.group: units for units in plan.units}  # a later pass may have cut it again
    odd = []
    for units in sorted(last.values(), key=lambda units: -units.size):
        kept, step = units.size - len(units.removed), narrowed(multiple, units.size)
        if kept % step and units.kind not in WHOLE_KINDS:
            odd.append(f"{units.group} keeps {kept} of {units.size}, no multiple of {step}")
    return odd


def fusion_lost(before: Counter[str], after: Counter[str]) -> str:
    """Which operators there are more of after the runtime's optimisation than in the original; empty when none."""
    return ", ".join(f"{count} {name}" for name, count in sorted((after - before).items()))
