"""How good two models are on the same data: by labels, by perplexity, by a metric of the user's own, or by their
likeness.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx

from graphprune.data.batching import Batch
from graphprune.data.dataset import Data
from graphprune.data.holding_out import picked
from graphprune.decoder.interface import answers
from graphprune.errors import DataError, OptionError
from graphprune.evaluation import drop
from graphprune.evaluation.language import TextQuality, score_text
from graphprune.evaluation.metric import MetricFunction, load_metric, measured, said
from graphprune.evaluation.outputs import OutputComparison, OutputDifference, are_class_scores, largest_error
from graphprune.plan.max_drop import Drop
from graphprune.runtime.known_answers import KnownAnswers
from graphprune.runtime.sessions import RuntimeOptions, run
from graphprune.runtime.turns import Turns

Kind = Literal["top1", "agreement", "error", "metric", "perplexity"]
_PAIRED = ("top1", "agreement", "perplexity")
"""The drop of these comes with the evaluation; a metric would have to be measured again."""


@dataclass(frozen=True)
class Evaluation:
    """``kind`` ``top1``: share of samples whose largest output is the label, before and after.

    ``kind`` ``agreement``: share of samples, or tokens, for which both models have the same largest output; ``before``
    is 1. ``kind`` ``error``, for all outputs that are no class scores: the largest relative error of an output;
    ``before`` is 0. ``kind`` ``metric``: what the user's function of the name ``metric`` returned. ``outputs`` compares
    every output with the original's. ``kind`` ``perplexity``: of language models on text, in ``samples`` chunks;
    ``text`` has the rest, and no outputs are compared. ``drop`` is what is lost, sample by sample, with an interval;
    None where it was not worked out: of errors and metrics, unless a budget asks for it.
    """

    kind: Kind
    before: float
    after: float
    samples: int
    outputs: tuple[OutputDifference, ...] = ()
    metric: str = ""
    text: TextQuality | None = None
    drop: Drop | None = None


@dataclass(frozen=True)
class Judging:
    """What networks are compared with, an ``original`` whose external data lie in ``folder``, and on what: the samples
    of ``data``, ``batch`` at once. ``known`` is what the original has said to them already.
    """

    original: Path | onnx.ModelProto
    folder: Path | None
    data: Data
    batch: int
    options: RuntimeOptions
    metric: str | MetricFunction | None = None
    known: KnownAnswers | None = None


def evaluate(pruned: Path | onnx.ModelProto, judging: Judging) -> Evaluation:
    """Run both models over the data. Labels count on the first output; all outputs are compared.

    Raises
    ------
    DataError
        There are labels, but the first output is not one row of class scores per sample.
    OptionError
        The metric cannot be used.
    """
    evaluation, told = _evaluated(pruned, judging)
    return replace(evaluation, drop=told()) if evaluation.kind in _PAIRED else evaluation


def judged(pruned: Path | onnx.ModelProto, judging: Judging) -> tuple[Evaluation, Drop]:
    """As :func:`evaluate`, and what the pruned one loses, with an interval; for that a metric is measured again on
    ten parts of the samples.
    """
    evaluation, told = _evaluated(pruned, judging, is_split=True)
    found = told()
    return replace(evaluation, drop=found), found


def _evaluated(
    pruned: Path | onnx.ModelProto, judging: Judging, *, is_split: bool = False
) -> tuple[Evaluation, Callable[[], Drop]]:
    data, batch, metric = judging.data, judging.batch, judging.metric
    named = None if metric is None else load_metric(metric)
    sessions = Turns((judging.original, pruned), judging.options, judging.folder, known=judging.known)
    if named is None and (found := score_text(sessions, data)) is not None:
        text = TextQuality(*(scores.figures for scores in found))
        dense, small = text.before.perplexity.value, text.after.perplexity.value
        scores = found
        return Evaluation("perplexity", dense, small, len(scores[0].tokens), text=text), lambda: drop.of_text(*scores)
    names = answers(sessions[0])  # a cache belongs to its network, which may have lost layers of it
    comparison, choices = OutputComparison(names), _Choices(data.origin)
    samples = 0
    for part in data.batches(batch):
        before, after = (run(session, part.feeds, names) for session in sessions)
        comparison.add(before, after, len(part) if is_split else 0)
        if named is None:
            choices.add(part, before[0], after[0])
        samples += len(part)
    outputs = comparison.results()
    if named is not None:
        values = [measured(*named, said(session, names, data, batch)) for session in sessions]
        asked = partial(_of_part, named, sessions, names, data, batch)
        return (
            Evaluation("metric", values[0], values[1], samples, outputs, named[0]),
            lambda: drop.of_metric(named[1], (values[0], values[1]), asked, samples),
        )
    if choices.kind == "error":
        largest = largest_error(outputs)
        evaluation = Evaluation("error", 0.0, largest, samples, outputs)
        return evaluation, lambda: drop.of_errors(largest, *comparison.worst(), samples)
    return Evaluation(choices.kind, *choices.shares, samples, outputs), lambda: choices.drop


def _of_part(
    named: tuple[str, MetricFunction], sessions: Turns, names: list[str], data: Data, batch: int, place: int
) -> tuple[float, float] | None:
    """The metric of both networks on one of the parts of the samples; None where it has none there."""
    part = picked(data, lambda places: places % drop.METRIC_PARTS == place)
    try:
        first, second = (measured(*named, said(session, names, part, batch)) for session in sessions)
    except (OptionError, DataError):
        return None
    return first, second


class _Choices:
    """Counts of largest class scores that are right, where the first output holds class scores."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._hits = np.zeros(2, np.int64)
        self._positions = 0
        self._rows: list[np.ndarray] = []  # (2, n) for each batch: of each sample, before and after
        self.kind: Kind = "agreement"

    @property
    def shares(self) -> tuple[float, float]:
        before, after = self._hits / self._positions
        return float(before), float(after)

    @property
    def drop(self) -> Drop:
        """What the second network loses."""
        before, after = np.concatenate(self._rows, axis=1)
        if self.kind == "top1":
            return drop.of_answers(before.astype(bool), after.astype(bool))
        return drop.of_agreement(after)

    def add(self, part: Batch, before: Any, after: Any) -> None:
        if part.labels is not None:
            self._check_labels(part.labels, before)
            self.kind = "top1"
            right = [scores.argmax(-1) == part.labels for scores in (before, after)]
            self._hits += [int(each.sum()) for each in right]
            self._positions += len(part)
            self._rows.append(np.array(right, np.float64))
        elif self.kind == "error" or not are_class_scores(part, before) or before.shape != after.shape:
            self.kind = "error"
        else:
            chosen = before.argmax(-1)
            same = chosen == after.argmax(-1)
            self._hits += [chosen.size, int(same.sum())]
            self._positions += chosen.size
            shares = same.reshape(len(same), -1).mean(1)
            self._rows.append(np.array([np.ones(len(same)), shares]))

    def _check_labels(self, labels: np.ndarray, scores: Any) -> None:
        if not isinstance(scores, np.ndarray) or scores.ndim != 2:
            shape = list(scores.shape) if isinstance(scores, np.ndarray) else f"a {type(scores).__name__}"
            raise DataError(
                f"labels need class scores [samples, classes], the first output is {shape}",
                "drop them, or judge by --metric script.py:function",
            )
        if labels.min() < 0 or labels.max() >= scores.shape[1]:
            raise DataError(
                f"the labels of {self._origin} run from {labels.min()} to {labels.max()}, "
                f"but the model has {scores.shape[1]} classes",
                "number the classes from 0",
            )
