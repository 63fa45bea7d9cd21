"""The two children of a network: one block less, and units of the same worth less."""

from __future__ import annotations

from math import log
from typing import Literal

import numpy as np

from graphprune.ir.export import to_proto
from graphprune.measure.ort import measure
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.joint.match import filter_count
from graphprune.pass_infra.joint.network import Network
from graphprune.pass_infra.joint.widths import Widths
from graphprune.plan.plan import Decision
from graphprune.plan.target import Target

Match = Literal["filters", "flops", "latency"]

_TRIES = 6
_SAME_TIME = 0.02  # two children whose times differ by less are equally fast
_TIMING_SECONDS = 0.5


def matched(
    widths: Widths, parent: Network, layer: Network, match: Match, context: Context, random: np.random.Generator
) -> Decision:
    """The units whose removal from ``parent`` saves what the child ``layer`` has saved;
    with a limit where too few can go.

    ``filters``: the same number of convolution filters; where heads and neurons compete,
    or no filter left with the block, the same number of parameters. ``flops``: the same MACs. ``latency``:
    the same measured time.
    """
    model, now, left = parent.analysis.model, parent.cost, layer.cost
    if match == "latency":
        return _as_fast(widths, parent, layer, context)
    if match == "flops" and left.macs < now.macs:
        return widths.down_to(Target("flops", left.macs / now.macs))
    wanted = filter_count(model) - filter_count(layer.analysis.model)
    if widths.are_filters and wanted:
        return widths.as_many_filters(wanted, random)
    return widths.down_to(Target("params", left.params / max(1, now.params)))


def _as_fast(widths: Widths, parent: Network, layer: Network, context: Context) -> Decision:
    """Bisection over the MACs that stay, both children timed in turn each time."""
    feeds = context.data.first(context.bench_batch)
    low, high = 0.0, 1.0  # shares of the MACs: too few stay, too many
    share = layer.cost.macs / max(1, parent.cost.macs)
    nearest: tuple[float, Decision] | None = None
    stuck = Decision("", limit="nothing can go")
    for _ in range(_TRIES):
        decision = widths.down_to(Target("flops", share))
        if decision.limit or not decision.units:
            low, stuck = share, decision
        else:
            child = parent.after(decision, context.data, context.execution.runtime)
            ratio = measure(
                to_proto(layer.analysis.model),
                to_proto(child.analysis.model),
                feeds,
                context.execution.runtime,
                folder=parent.analysis.model.folder,
                min_seconds=_TIMING_SECONDS,
            ).comparison.ratio
            if nearest is None or abs(log(ratio)) < nearest[0]:
                nearest = abs(log(ratio)), decision
            if abs(log(ratio)) <= _SAME_TIME:
                break
            low, high = (low, share) if ratio > 1 else (share, high)
        share = (low + high) / 2
    return stuck if nearest is None else nearest[1]
