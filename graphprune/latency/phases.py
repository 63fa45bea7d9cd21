"""A clock for one phase of generation: the time to the first token, or per token after it, candidates interleaved."""

from __future__ import annotations

from graphprune.errors import NothingToPrune, OptionError
from graphprune.generation.loop import OrtDecoder
from graphprune.generation.measure import GenerationMeasurement, PointMeasurement, measure_point
from graphprune.generation.points import GenerationPoint
from graphprune.generation.pruned import original_decoder, points, pruned_decoder, step_feeds
from graphprune.ir.model import Model
from graphprune.plan.target import Target
from graphprune.run.loaded import LoadedRun
from graphprune.run.options import RunOptions
from graphprune.runtime.sessions import Feeds


class PhaseTimer:
    """Generates with ONNX Runtime, at the point and with the options that the result is measured with.

    Times are shares of the original's or, where the target has a unit, milliseconds: for a token, of all samples
    together. ``feeds`` are those of a run in the phase, for the table of layers.

    Raises
    ------
    NothingToPrune
        The model is as fast as the target's milliseconds or tokens in a second already.
    """

    def __init__(self, target: Target, original: OrtDecoder, point: GenerationPoint, options: RunOptions) -> None:
        self._target, self._original, self._point, self._options = target, original, point, options
        self._is_first = target.kind == "ttft"
        self.asked, self.dense = target.turned(target.value), 1.0
        self.feeds: Feeds = step_feeds(original, point, options.timing.batch, is_first=self._is_first)
        if target.unit:
            self.dense = self._against(original)
            if self.dense <= self.asked:
                reached = f"{target.kind}={target.turned(self.dense):.3g}{target.unit}"
                raise NothingToPrune(f"the model reaches {reached} already, the target is {target}", "ask for more")

    def time(self, model: Model) -> float:
        """The phase's time of ``model``."""
        return self._against(pruned_decoder(model, self._options.runtime))

    def _against(self, other: OrtDecoder) -> float:
        timing = self._options.timing
        point = GenerationPoint(self._point.prompt, 2) if self._is_first else self._point
        measured = measure_point(
            self._original, other, point, batch=timing.batch, seed=self._options.seed, min_seconds=timing.seconds
        )
        return _phase_time(self._target, measured, timing.batch)


def phase_time(target: Target, measured: GenerationMeasurement) -> float:
    """The phase's time of the second model at the point where it counts: over that of the first, or in milliseconds."""
    tokens, first = measured.points
    return _phase_time(target, first if target.kind == "ttft" else tokens, measured.batch)


def _phase_time(target: Target, measured: PointMeasurement, batch: int) -> float:
    if target.kind == "ttft":
        return measured.first_token.second.median_ms if target.unit else measured.first_token.ratio
    return measured.per_token.second.median_ms / batch if target.unit else measured.per_token.ratio


def phase_timer(target: Target, loaded: LoadedRun, options: RunOptions) -> PhaseTimer:
    """The clock of a target of generation.

    Raises
    ------
    OptionError
        The model does not generate.
    NothingToPrune
        It is fast enough already.
    """
    original = original_decoder(loaded.model, options.runtime)
    if original is None:
        raise OptionError(
            f"{target} is for decoders with a cache of keys and values, which this model is not",
            "export it with its past, or ask for latency=",
        )
    tokens, first = points(loaded.model)
    return PhaseTimer(target, original, first if target.kind == "ttft" else tokens, options)
