"""Models whose outputs are no class scores: each output of each model against that of the first, or text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphprune.data.dataset import Data, input_specs
from graphprune.errors import ModelError
from graphprune.evaluation.language import TextScores, score_text
from graphprune.evaluation.metric import MetricFunction, measured, said
from graphprune.evaluation.outputs import OutputComparison, OutputDifference, are_class_scores
from graphprune.ir.loading import load
from graphprune.runtime.sessions import RuntimeOptions, open_session, run
from graphprune.runtime.turns import Turns
from graphprune.text.options import TextOptions
from graphprune.text.source import Limit, open_data


@dataclass(frozen=True)
class ModelOutputs:
    """How far a model's outputs are from the first model's (none for the first).

    ``metric`` is what the user's function returned, where one was given.
    """

    outputs: tuple[OutputDifference, ...]
    metric: float | None = None


class Compared:
    """Model files that take the same inputs, and their samples."""

    def __init__(
        self,
        paths: Sequence[Path],
        source: Any,
        limit: Limit,
        batch: int,
        options: RuntimeOptions,
        text: TextOptions,
    ) -> None:
        self._paths, self._batch, self._options = list(paths), batch, options
        models = [load(path) for path in paths]
        self._specs = [sorted(input_specs(model), key=str) for model in models]
        takes = [[(spec.name, spec.dtype, len(spec.dims)) for spec in specs] for specs in self._specs]
        self._other = next((place for place, each in enumerate(takes) if each != takes[0]), None)
        self.data: Data = open_data(source, models[0], limit, text=text)

    def text_scores(self) -> tuple[TextScores, ...] | None:
        """What each model makes of text; None where the samples are none, or the first model is no language model."""
        if self.data.tokens is None:
            return None
        return score_text(Turns(self._paths, self._options), self.data)

    @property
    def are_classifiers(self) -> bool:
        """Whether the first model has one input, and class scores for its first output."""
        if len(self.data.specs) != 1 or not self.data.batching.is_rows:
            return False
        part = next(self.data.batches(self._batch))
        return are_class_scores(part, run(open_session(self._paths[0], self._options, is_lean=True), part.feeds)[0])

    def outputs(self, metric: tuple[str, MetricFunction] | None) -> tuple[tuple[ModelOutputs, ...], int]:
        """What each model has for outputs, and on how many samples.

        Raises
        ------
        ModelError
            A model takes other inputs than the first, or has other outputs.
        """
        if self._other is not None:
            mine, theirs = (", ".join(map(str, self._specs[place])) for place in (0, self._other))
            raise ModelError(
                f"{self._paths[0].name} takes {mine}, {self._paths[self._other].name} takes {theirs}",
                "compare like with like",
            )
        sessions = [open_session(path, self._options) for path in self._paths]
        names = [output.name for output in sessions[0].get_outputs()]
        for path, session in zip(self._paths, sessions, strict=True):
            if [output.name for output in session.get_outputs()] != names:
                raise ModelError(f"{path.name} has other outputs than {self._paths[0].name}", "compare like with like")
        comparisons, samples = [OutputComparison(names) for _ in sessions], 0
        for part in self.data.batches(self._batch):
            found = [run(session, part.feeds) for session in sessions]
            for comparison, values in zip(comparisons[1:], found[1:], strict=True):
                comparison.add(found[0], values)
            samples += len(part)
        figures = [
            None if metric is None else measured(*metric, said(session, names, self.data, self._batch))
            for session in sessions
        ]
        rows = (ModelOutputs(each.results(), value) for each, value in zip(comparisons, figures, strict=True))
        return tuple(rows), samples
