"""A clock for one phase of generation: the time to the first token, or per token after it, candidates interleaved."""

from __future__ import annotations

from graphprune.errors import OptionError
from graphprune.generation.loop import OrtDecoder
from graphprune.generation.measure import GenerationMeasurement, measure_point
from graphprune.generation.points import GenerationPoint
from graphprune.generation.pruned import original_decoder, points, pruned_decoder, step_feeds
from graphprune.ir.model import Model
from graphprune.plan.target import Target
from graphprune.run.loaded import LoadedRun
from graphprune.run.options import RunOptions
from graphprune.runtime.sessions import Feeds


class PhaseTimer:
    """Generates with ONNX Runtime, at the point and with the options that the result is measured with.

    Times are shares of the original's. ``feeds`` are those of a run in the phase, for the table of layers.
    """

    def __init__(self, target: Target, original: OrtDecoder, point: GenerationPoint, options: RunOptions) -> None:
        self._original, self._point, self._options = original, point, options
        self._is_first = target.kind == "ttft"
        self.asked, self.dense = target.turned(target.value), 1.0
        self.feeds: Feeds = step_feeds(original, point, options.timing.batch, is_first=self._is_first)

    def time(self, model: Model) -> float:
        """The phase's time of ``model`` over that of the original."""
        timing = self._options.timing
        other = pruned_decoder(model, self._options.runtime)
        point = GenerationPoint(self._point.prompt, 2) if self._is_first else self._point
        measured = measure_point(
            self._original, other, point, batch=timing.batch, seed=self._options.seed, min_seconds=timing.seconds
        )
        return measured.first_token.ratio if self._is_first else measured.per_token.ratio


def phase_ratio(target: Target, measured: GenerationMeasurement) -> float:
    """The phase's time of the second model over that of the first, at the point where it counts."""
    tokens, first = measured.points
    return first.first_token.ratio if target.kind == "ttft" else tokens.per_token.ratio


def phase_timer(target: Target, loaded: LoadedRun, options: RunOptions) -> PhaseTimer:
    """The clock of a target of generation.

    Raises
    ------
    OptionError
        The model does not generate.
    """
    original = original_decoder(loaded.model, options.runtime)
    if original is None:
        raise OptionError(
            f"{target} is for decoders with a cache of keys and values, which this model is not",
            "export it with its past, or ask for latency=",
        )
    tokens, first = points(loaded.model)
    return PhaseTimer(target, original, first if target.kind == "ttft" else tokens, options)
