"""Tables of the report for decoders: times from token to token, and what the network makes of text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from graphprune.evaluation.accuracy import Evaluation
from graphprune.generation.measure import GenerationMeasurement
from graphprune.measure.timing import Comparison
from graphprune.report.html.headline import tone
from graphprune.report.quality import with_error


@dataclass(frozen=True)
class Row:
    """A measure before and after; ``ratio`` is after over before with its 95 % interval, or empty."""

    place: str
    name: str
    before: str
    after: str
    ratio: str = ""
    tone: str = ""


def generation_rows(measured: GenerationMeasurement | None) -> list[Row]:
    """Time to the first token, per token after it, and tokens in a second, at each point."""
    return [] if measured is None else [*_phases(measured)]


def _phases(measured: GenerationMeasurement) -> Iterator[Row]:
    for point in measured.points:
        place = f"prompt {point.prompt}, {point.new} new"
        for name, times in (("first token, ms", point.first_token), ("per token after it, ms", point.per_token)):
            one, other = times.first.median_ms, times.second.median_ms
            yield Row(place, name, f"{one:.3g}", f"{other:.3g}", *_ratio(times))
        first, second = point.tokens_per_s
        token = point.per_token
        interval = f"{token.speed_up:.3f} [{1 / token.ratio_high:.3f}, {1 / token.ratio_low:.3f}]"
        yield Row(place, "tokens/s", f"{first:.1f}", f"{second:.1f}", interval, tone(token))


def _ratio(times: Comparison) -> tuple[str, str]:
    return f"{times.ratio:.3f} [{times.ratio_low:.3f}, {times.ratio_high:.3f}]", tone(times)


def text_rows(evaluation: Evaluation | None, unrepaired: Evaluation | None, recovery: str) -> list[Row]:
    """Perplexity, agreement and divergence on text with their standard errors; empty where there was no text."""
    if evaluation is None or evaluation.text is None:
        return []
    quality = evaluation.text
    stages = [("", quality.after)]
    if unrepaired is not None and unrepaired.text is not None:
        stages = [(f"before {recovery}", unrepaired.text.after), (f"after {recovery}", quality.after)]
    rows = []
    for stage, after in stages:
        rows += [
            Row(stage, "perplexity", with_error(quality.before.perplexity), with_error(after.perplexity)),
            Row(stage, "same likeliest token", "", with_error(after.agreement, percent=True)),
            Row(stage, "KL to the original, nats", "", with_error(after.kl_nats)),
        ]
    return rows
