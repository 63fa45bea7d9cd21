"""What a pruned network loses against the original on the same samples, with an interval."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, isclose, isfinite, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graphprune.errors import OptionError
from graphprune.evaluation.language import TextScores
from graphprune.evaluation.metric import MetricFunction
from graphprune.evaluation.paired import difference, interval
from graphprune.plan.max_drop import Drop

if TYPE_CHECKING:
    from graphprune.evaluation.accuracy import Evaluation

METRIC_PARTS = 10
"""In so many parts of the samples a metric is measured again, to tell how sure it is."""
_STUDENT_95 = 2.262157162740992  # of nine degrees of freedom


def of_answers(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Drop:
    """The share of right answers less, sample by sample."""
    found = difference(before, after)
    return Drop("top1", 0.0 - found.value, -found.high, -found.low, len(before))


def of_agreement(shares: NDArray[np.float64]) -> Drop:
    """``shares`` (n,) of the positions of each sample for which both networks choose the same."""
    if np.isin(shares, (0, 1)).all():
        found = difference(np.ones(len(shares), bool), shares.astype(bool))
    else:
        spread = float(shares.std(ddof=1)) / sqrt(len(shares)) if len(shares) > 1 else float("nan")
        found = interval(float(shares.mean()) - 1, spread)
    return Drop("agreement", 0.0 - found.value, *_ends(max(0.0, -found.high), -found.low), len(shares))


def of_errors(value: float, gaps: NDArray[np.float64], norms: NDArray[np.float64], samples: int) -> Drop:
    """The relative error ``value`` of an output, of which ``gaps`` (n,) and ``norms`` (n,) are the squared differences
    and the squares of each sample, or of each run of several. No interval where they are those of another output.
    """
    count, own = len(gaps), float(norms.mean()) if len(norms) else 0.0
    if count < 2 or not own or not isclose(float(gaps.mean()) / own, value**2, rel_tol=1e-4, abs_tol=1e-18):
        return Drop("error", value, None, None, samples)
    influence = (gaps - value**2 * norms) / own
    reach = 1.96 * float(influence.std(ddof=1)) / sqrt(count) / (2 * value) if value else 0.0
    return Drop("error", value, *_ends(max(0.0, value - reach), value + reach), samples)


def of_text(before: TextScores, after: TextScores) -> Drop:
    """How much higher the perplexity is, as a share of the original's; over chunks."""
    first, second = before.perplexity, after.perplexity
    value, chunks = second.value / first.value - 1, len(before.tokens)
    if chunks < 2 or not isfinite(value):
        return Drop("perplexity", value, None, None, chunks)
    gaps = second.influence / second.value - first.influence / first.value  # of the mean losses in nats
    reach = 1.96 * float(gaps.std(ddof=1)) / sqrt(chunks)
    return Drop("perplexity", value, *_ends((1 + value) * exp(-reach) - 1, (1 + value) * exp(reach) - 1), chunks)


def of_metric(
    metric: MetricFunction,
    whole: tuple[float, float],
    of_part: Callable[[int], tuple[float, float] | None],
    samples: int,
) -> Drop:
    """How much worse the metric is, as a share of the original's: ``whole``, and ``of_part`` 0 to 9 of the samples.

    Raises
    ------
    OptionError
        The original's is 0.
    """
    sign = 1 if is_lower_better(metric) else -1
    before, after = whole
    if not before:
        raise OptionError("the metric of the original is 0, of which no share can be lost", "use another metric")
    value = sign * (after - before) / abs(before)
    parts = [found for found in map(of_part, range(METRIC_PARTS)) if found is not None]
    if len(parts) < METRIC_PARTS:
        return Drop("metric", value, None, None, samples)
    falls = np.array([sign * (second - first) / abs(before) for first, second in parts])
    reach = _STUDENT_95 * float(falls.std(ddof=1)) / sqrt(METRIC_PARTS)
    return Drop("metric", value, value - reach, value + reach, samples)


def estimate(evaluation: Evaluation, metric: MetricFunction | None) -> float:
    """What an evaluation says was lost, as a share; of a metric, of which more is better unless it says otherwise."""
    before, after = evaluation.before, evaluation.after
    if evaluation.kind == "perplexity":
        return after / before - 1
    if evaluation.kind == "metric":
        sign = 1 if metric is not None and is_lower_better(metric) else -1
        return sign * (after - before) / (abs(before) or 1.0)
    return after if evaluation.kind == "error" else before - after


def is_lower_better(metric: MetricFunction) -> bool:
    """Whether the function says so, by an attribute ``lower_is_better``; higher is better where it says nothing."""
    said: Any = getattr(metric, "lower_is_better", False)
    return bool(said)


def _ends(low: float, high: float) -> tuple[float | None, float | None]:
    return (low, high) if isfinite(low) and isfinite(high) else (None, None)
