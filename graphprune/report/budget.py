"""What a result may lose and what it does, in sentences and rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphprune.plan.max_drop import BudgetRecord, TriedCut
    from graphprune.report.result import Result

_OF = {
    "top1": "of top-1",
    "agreement": "of the agreement with the original",
    "error": "for error of the outputs",
    "perplexity": "more perplexity",
    "metric": "of the metric",
}
_COUNTS = {"interval": "the upper end of the 95 % interval", "estimate": "the estimate"}


def sentences(result: Result) -> Iterator[str]:
    """What was asked for, what was reached, and what a larger cut would have lost."""
    budget = result.plan.budget
    if not budget:
        return
    reached = budget.reached
    asked = f"may lose {budget.asked}, by {_COUNTS[budget.by]}"
    if reached is None:
        yield asked
        return
    yield f"{asked}; loses {reached} {_OF.get(reached.kind, '')} on {reached.samples:,} held-out samples"
    if budget.beyond is not None:
        left = share(budget.beyond, result)
        yield f"one step further, at {left} of the MACs, it would have lost {budget.beyond.drop}"
    elif len(budget.trials) > 1:
        yield "no larger cut can be had of these passes"


def rows(budget: BudgetRecord, result: Result) -> list[tuple[str, str, str, bool]]:
    """Each cut that was tried, the smallest first: MACs left, what it loses, the end that counts, whether that is
    within.
    """
    tried = sorted(budget.trials, key=lambda each: -each.macs)
    return [
        (share(each, result), str(each.drop), f"{100 * budget.asked.bound(each.drop):.2f}", each.is_within)
        for each in tried
    ]


def share(tried: TriedCut, result: Result) -> str:
    """MACs left of a cut, in per cent."""
    return f"{100 * tried.macs / max(1, result.before.macs):.1f} %"
