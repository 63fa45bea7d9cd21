"""How good the network still is, in words and figures: shares, errors of outputs, or the user's own metric."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphprune.evaluation.accuracy import Evaluation
    from graphprune.evaluation.language import TextFigure
    from graphprune.evaluation.outputs import OutputDifference

Row = tuple[str, str, str, str]
"""Label, before, after, change."""

_LABELS = {"top1": "top-1", "agreement": "agreement", "error": "largest output error"}
_FEW = 8
"""So many outputs are shown; --verbose shows all."""


def figure(evaluation: Evaluation, value: float) -> str:
    """One value of an evaluation: a share in percent, or the metric or perplexity as it is."""
    return f"{value:.4g}" if evaluation.kind in ("metric", "perplexity") else f"{100 * value:.2f} %"


def quality_rows(
    evaluation: Evaluation, unrepaired: Evaluation | None, recovery: str, *, all_outputs: bool
) -> Iterator[Row]:
    """The rows of a table; ``unrepaired`` is the evaluation before ``recovery``, which says what was done."""
    if evaluation.text is not None:
        yield from _text_rows(evaluation, unrepaired, recovery)
        return
    label = _LABELS.get(evaluation.kind, evaluation.metric)
    yield (
        f"{label} on {evaluation.samples:,}",
        figure(evaluation, evaluation.before),
        figure(evaluation, evaluation.after),
        _change(evaluation),
    )
    if unrepaired is not None:
        yield f"  before {recovery}", "", figure(unrepaired, unrepaired.after), _change(unrepaired)
    if evaluation.kind != "error" and len(evaluation.outputs) < 2 and not all_outputs:
        return
    shown = evaluation.outputs if all_outputs else evaluation.outputs[:_FEW]
    for each in shown:
        cosine = "" if each.cosine is None else f"cosine {each.cosine:.4f}"
        yield f"  error of {each.name}", "", _error(each), cosine
    if len(shown) < len(evaluation.outputs):
        yield f"  and {len(evaluation.outputs) - len(shown)} more outputs", "", "", "see -v"


def _text_rows(evaluation: Evaluation, unrepaired: Evaluation | None, recovery: str) -> Iterator[Row]:
    assert evaluation.text is not None  # the caller looks
    before, after = evaluation.text.before, evaluation.text.after
    change = f"{evaluation.after / evaluation.before:.2f}x"
    label = f"perplexity on {evaluation.samples:,} chunks"
    yield label, with_error(before.perplexity), with_error(after.perplexity), change
    if unrepaired is not None and unrepaired.text is not None:
        yield f"  before {recovery}", "", with_error(unrepaired.text.after.perplexity), ""
    yield "  top-1 agreement", "", with_error(after.agreement, percent=True), ""
    yield "  KL to the original, nats", "", with_error(after.kl_nats), ""


def with_error(figure: TextFigure, *, percent: bool = False) -> str:
    """A figure and its standard error to the same place; ``percent`` for shares."""
    value, error = (
        None if part is None else part * (100 if percent else 1) for part in (figure.value, figure.standard_error)
    )
    assert value is not None
    digits = 2 if percent or value >= 1 else 4
    reach = "" if error is None else f" ±{error:.{digits}f}"
    return f"{value:.{digits}f}{reach}{' %' if percent else ''}"


def difference(output: OutputDifference) -> str:
    """One output in a sentence."""
    cosine = "" if output.cosine is None else f", cosine {output.cosine:.4f}"
    return f"{output.name}: {_error(output)}{cosine}"


def output_figures(output: OutputDifference) -> tuple[str, str]:
    """Error and cosine of an output."""
    return _error(output), "" if output.cosine is None else f"{output.cosine:.4f}"


def _error(output: OutputDifference) -> str:
    if output.relative_error is None:
        return "other shape" if output.reshaped else "not defined"
    return f"{100 * output.relative_error:.2f} %"


def _change(evaluation: Evaluation) -> str:
    change = evaluation.after - evaluation.before
    return f"{change:+.4g}" if evaluation.kind == "metric" else f"{100 * change:+.2f} pt"
