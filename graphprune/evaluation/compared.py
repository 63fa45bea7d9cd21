"""Models whose outputs are no class scores: each output of each model against that of the first, or text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphprune.data.dataset import Data, input_specs
from graphprune.data.image_options import ImageOptions
from graphprune.decoder.interface import answers
from graphprune.errors import ModelError
from graphprune.evaluation.language import TextScores, score_text
from graphprune.evaluation.metric import MetricFunction, measured, said
from graphprune.evaluation.outputs import OutputComparison, OutputDifference, are_class_scores
from graphprune.evaluation.own_cache import OwnCache
from graphprune.ir.loading import load
from graphprune.runtime.sessions import RuntimeOptions, open_session, run
from graphprune.runtime.turns import Turns
from graphprune.text.inputs import TokenInputs, token_inputs
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
    """Model files that take the same inputs, and their samples. Decoders may have caches of their own."""

    def __init__(
        self,
        paths: Sequence[Path],
        source: Any,
        limit: Limit,
        batch: int,
        options: RuntimeOptions,
        text: TextOptions,
        images: ImageOptions,
    ) -> None:
        self._paths, self._batch, self._options = list(paths), batch, options
        models = [load(path) for path in paths]
        self._specs = [sorted(input_specs(model), key=str) for model in models]
        takes = [[(spec.name, spec.dtype, spec.dims) for spec in specs] for specs in self._specs]
        tokens = [token_inputs(model) for model in models]
        self._own = {
            place: inputs
            for place, inputs in enumerate(tokens)
            if takes[place] != takes[0] and _has_cache(inputs) and _has_cache(tokens[0])
        }
        self._theirs = _cache_names(tokens[0])
        ranks = [[(name, dtype, len(dims)) for name, dtype, dims in each] for each in takes]
        self._other = next(
            (place for place, each in enumerate(ranks) if each != ranks[0] and place not in self._own), None
        )
        self.data: Data = open_data(source, models[0], limit, None, text, images)

    def text_scores(self) -> tuple[TextScores, ...] | None:
        """What each model makes of text; None where the samples are none, or the first model is no language model."""
        if self.data.tokens is None:
            return None
        return score_text(Turns(self._paths, self._options, dressed=self._dressed), self.data)

    def _dressed(self, place: int, session: Any) -> Any:
        """The session of a model as one that takes the feeds of the first."""
        inputs = self._own.get(place)
        return session if inputs is None else OwnCache(session, inputs, self._theirs)

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
        opened = (open_session(path, self._options) for path in self._paths)
        sessions = [self._dressed(place, session) for place, session in enumerate(opened)]
        offered = [
            answers(session) if self._own else [output.name for output in session.get_outputs()] for session in sessions
        ]
        names = offered[0]
        for path, others in zip(self._paths, offered, strict=True):
            if others != names:
                raise ModelError(f"{path.name} has other outputs than {self._paths[0].name}", "compare like with like")
        comparisons, samples = [OutputComparison(names) for _ in sessions], 0
        for part in self.data.batches(self._batch):
            found = [run(session, part.feeds, names) for session in sessions]
            for comparison, values in zip(comparisons[1:], found[1:], strict=True):
                comparison.add(found[0], values)
            samples += len(part)
        figures = [
            None if metric is None else measured(*metric, said(session, names, self.data, self._batch))
            for session in sessions
        ]
        rows = (ModelOutputs(each.results(), value) for each, value in zip(comparisons, figures, strict=True))
        return tuple(rows), samples


def _has_cache(inputs: TokenInputs | None) -> bool:
    return inputs is not None and inputs.decoder is not None


def _cache_names(inputs: TokenInputs | None) -> frozenset[str]:
    decoder = None if inputs is None else inputs.decoder
    return frozenset() if decoder is None else frozenset(tensor.past for tensor in decoder.cache)
