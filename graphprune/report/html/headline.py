"""The figures at the top of the report, the one that was asked for first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from graphprune.evaluation.accuracy import Evaluation
from graphprune.generation.measure import PointMeasurement
from graphprune.measure.runtime import Measurement
from graphprune.measure.timing import Comparison
from graphprune.report.quality import difference, figure, with_error
from graphprune.report.result import Result
from graphprune.report.text import change, compact, size

_MOST_OUTPUTS = 4  # named under the figure
_TIMES, _MINUS = "\N{MULTIPLICATION SIGN}", "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Figure:
    """A number in large type with what it is and the details; ``tone`` is ``good``, ``bad`` or empty."""

    label: str
    value: str
    details: tuple[str, ...]
    tone: str = ""

    @property
    def is_in_words(self) -> bool:
        """Whether there is no number."""
        return not any(letter.isdigit() for letter in self.value)


def figures(result: Result) -> list[Figure]:
    """As many as the run gave."""
    return [*_figures(result)]


def _figures(result: Result) -> Iterator[Figure]:
    before, after = result.before, result.after
    if result.measurement is not None:
        yield _speed(result.measurement)
    elif result.validation is not None:
        yield Figure("time", "not measured", ("--no-bench was given",))
    if result.generation is not None:
        yield from map(_tokens, result.generation.points[:1])
        yield from map(_first_token, result.generation.points[1:2])
    yield Figure("MACs", _percent(before.macs, after.macs), (f"{compact(before.macs)} to {compact(after.macs)}",))
    if result.validation is not None:
        sizes = f"{size(before.bytes)} to {size(after.bytes)}"
        params = f"{compact(before.params)} to {compact(after.params)} parameters"
        yield Figure("file size", _percent(before.bytes, after.bytes), (sizes, params))
    else:
        params = f"{compact(before.params)} to {compact(after.params)}"
        yield Figure("parameters", _percent(before.params, after.params), (params,))
    if result.evaluation is not None:
        yield _quality(result)
    elif result.validation is not None:
        yield Figure("quality", "not measured", ("--eval names samples to judge on",))
    if result.validation is not None:
        check = result.validation
        error = f"{check.max_relative_error:.1e}" if check.max_relative_error else "0"
        about = f"largest relative difference to the masked original on {check.samples:,} samples"
        noise = f"{check.self_difference:.0e}" if check.self_difference else "0"
        varies = f"the network itself varies by {noise} (optimiser, batch size, rounding)"
        yield Figure("validation error", error, (about, f"limit {check.tolerance:.0e}", varies), "good")


def _speed(measurement: Measurement) -> Figure:
    times = measurement.comparison
    provider = measurement.environment["provider"].removesuffix("ExecutionProvider")
    where = f"{measurement.environment['runtime']} {provider}, batch {measurement.batch}"
    low, high = 1 / times.ratio_high, 1 / times.ratio_low
    if not times.is_different:
        return Figure(
            "no difference in time", f"{times.speed_up:.2f}{_TIMES}", (f"95 % interval {low:.2f} to {high:.2f}", where)
        )
    if times.ratio > 1:
        interval = f"95 % interval {times.ratio_low:.2f} to {times.ratio_high:.2f}"
        return Figure("slower", f"{times.ratio:.2f}{_TIMES}", (interval, where), "bad")
    return Figure("faster", f"{times.speed_up:.2f}{_TIMES}", (f"95 % interval {low:.2f} to {high:.2f}", where), "good")


def _tokens(point: PointMeasurement) -> Figure:
    times, (before, after) = point.per_token, point.tokens_per_s
    interval = f"95 % interval {1 / times.ratio_high:.2f} to {1 / times.ratio_low:.2f}"
    details = (f"{before:.1f} to {after:.1f}, {interval}", f"prompt {point.prompt}, {point.new} new")
    return Figure("tokens/s", f"{times.speed_up:.2f}{_TIMES}", details, tone(times))


def _first_token(point: PointMeasurement) -> Figure:
    times = point.first_token
    interval = f"95 % interval {times.ratio_low:.2f} to {times.ratio_high:.2f}"
    details = (f"{times.first.median_ms:.3g} to {times.second.median_ms:.3g} ms, {interval}", f"prompt {point.prompt}")
    return Figure("first token", f"{times.ratio:.2f}{_TIMES}", details, tone(times))


def tone(times: Comparison) -> str:
    """``good`` where the second is faster for certain, ``bad`` where it is slower, else empty."""
    if not times.is_different:
        return ""
    return "bad" if times.ratio > 1 else "good"


def _quality(result: Result) -> Figure:
    evaluation = result.evaluation
    assert evaluation is not None  # the caller looks
    label = {
        "top1": "top-1",
        "agreement": "agreement with the original",
        "error": "error of the outputs",
        "perplexity": "perplexity",
    }
    details = [_against(evaluation), *_interval(evaluation)]
    if result.unrepaired is not None:
        details.append(f"{figure(result.unrepaired, result.unrepaired.after)} before {result.recovery}")
    if evaluation.text is not None:
        after = evaluation.text.after
        details.append(f"top-1 agreement {with_error(after.agreement, percent=True)}")
        details.append(f"KL to the original {with_error(after.kl_nats)} nats")
    if evaluation.kind == "error":
        details += map(difference, evaluation.outputs[:_MOST_OUTPUTS])
    name = label.get(evaluation.kind, evaluation.metric)
    if evaluation.kind not in ("top1", "agreement"):
        return Figure(name, figure(evaluation, evaluation.after), tuple(details), _tone_of(evaluation))
    points = 100 * (evaluation.after - evaluation.before)
    return Figure(name, f"{_signed(points)} pt", tuple(details), _tone_of(evaluation))


def _tone_of(evaluation: Evaluation) -> str:
    """``bad`` or ``good`` where both networks differ on the same samples by more than chance; else empty, and where
    that is not known.
    """
    drop = evaluation.drop
    if drop is None or drop.low is None or drop.high is None or drop.low <= 0 <= drop.high:
        return ""
    return "bad" if drop.low > 0 else "good"


def _interval(evaluation: Evaluation) -> Iterator[str]:
    """The 95 % interval of the difference, seen from the headline: a loss is below 0 for shares, above for the rest."""
    drop = evaluation.drop
    if drop is None or drop.low is None or drop.high is None:
        return
    is_share = drop.kind in ("top1", "agreement")
    ends = (-drop.high, -drop.low) if is_share else (drop.low, drop.high)
    low, high = (_signed(100 * end + 0.0) for end in ends)
    sure = "" if _tone_of(evaluation) else ": may be chance"
    yield f"95 % interval {low} to {high} {'pt' if is_share else '%'}, paired{sure}"


def _against(evaluation: Evaluation) -> str:
    where = f"on {evaluation.samples:,} samples"
    if evaluation.kind == "error":
        return f"largest relative error {where}"
    before, after = (figure(evaluation, value) for value in (evaluation.before, evaluation.after))
    if evaluation.kind == "perplexity":
        return f"{before} before, on {evaluation.samples:,} chunks of text"
    if evaluation.kind == "metric":
        return f"{before} before, {evaluation.after - evaluation.before:+.4g} {where}".replace("-", _MINUS)
    return f"{before} before, {after} after {where}"


def _percent(before: float, after: float) -> str:
    return change(before, after).replace("-", _MINUS) or "none"


def _signed(points: float) -> str:
    return f"{points:+.2f}".replace("-", _MINUS)
