"""Two decoders timed against each other, whole generations in turn: A B, B A, in one process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graphprune.base.progress import Progress, silent
from graphprune.generation.decoder import Decoder
from graphprune.generation.points import GenerationPoint
from graphprune.measure.timing import Comparison, comparison
from graphprune.runtime.timing import Limits, exactly, own_ms, rounds_ms

_MARKERS = 3
_WARM_UPS = 2
_WARM_UP_TOKENS = 8
_ROUNDS, _SLOW_ROUNDS, _MOST_ROUNDS = 10, 5, 2_000
_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class PointMeasurement:
    """Times at one point, in milliseconds: to the ``first_token``, ``per_token`` after it (the mean of a generation),
    and for all of it (``wall``).

    ``tokens_per_s`` are those after the first, of all samples together, for the first and the second model.
    ``peak_bytes`` is the most memory a process held that did nothing else, runtime and Python included; null where the
    system does not tell.
    """

    prompt: int
    new: int
    first_token: Comparison
    per_token: Comparison
    wall: Comparison
    tokens_per_s: tuple[float, float]
    peak_bytes: tuple[int | None, int | None] = (None, None)


@dataclass(frozen=True)
class GenerationMeasurement:
    """Both models at every point, ``batch`` samples at once, and the circumstances it holds for."""

    points: tuple[PointMeasurement, ...]
    batch: int
    environment: Mapping[str, Any]


def prompts(point: GenerationPoint, batch: int, vocabulary: int, seed: int) -> np.ndarray:
    """Random ids int64 [batch, prompt] below ``vocabulary``, not the first three: these are padding and markers mostly,
    and onnxruntime-genai takes padding for no token at all.
    """
    return np.random.default_rng(seed).integers(min(_MARKERS, vocabulary - 1), vocabulary, (batch, point.prompt))


def measure_point(
    first: Decoder,
    second: Decoder,
    point: GenerationPoint,
    *,
    batch: int = 1,
    seed: int = 0,
    min_seconds: float = 2.0,
    progress: Progress = silent,
) -> PointMeasurement:
    """Time both on the same random prompts: ten generations of each, and as many more as ``min_seconds`` hold.

    Slow models stop short after half a minute, but not before five. Two short generations of each come before the
    clock starts.
    """
    ids = prompts(point, batch, min(first.vocabulary, second.vocabulary), seed)
    done = 0

    def generation(decoder: Decoder, new: int) -> Callable[[], tuple[float, float, float]]:
        def run() -> tuple[float, float, float]:
            nonlocal done
            step_ms = decoder.generate(ids, new).step_ms
            done += new == point.new
            progress(f"generating: {point}", min(done, 2 * _ROUNDS), 2 * _ROUNDS)
            return float(step_ms[0]), float(step_ms[1:].mean()), float(step_ms.sum())

        return run

    pair = (first, second)
    rounds_ms([generation(each, min(_WARM_UP_TOKENS, point.new)) for each in pair], exactly(_WARM_UPS), timed=own_ms)
    done = 0
    limits = Limits(_ROUNDS, _MOST_ROUNDS, min_seconds, _SLOW_ROUNDS, max(_PATIENCE_SECONDS, min_seconds))
    parts = rounds_ms([generation(each, point.new) for each in pair], limits, timed=own_ms, alternate=True)
    return measured_point(point, batch, parts, seed)


@dataclass(frozen=True)
class Generating:
    """How decoders are timed: ``batch`` samples at once, prompts drawn by ``seed``, ``min_seconds`` of each point."""

    batch: int
    seed: int
    min_seconds: float
    progress: Progress = silent


def measure_points(
    first: Decoder, second: Decoder, points: Sequence[GenerationPoint], how: Generating
) -> list[PointMeasurement]:
    """Both timed at one point after another."""
    options = vars(how)
    return [measure_point(first, second, point, **options) for point in points]


def measured_point(point: GenerationPoint, batch: int, parts: np.ndarray, seed: int = 0) -> PointMeasurement:
    """From milliseconds (rounds, models, parts); the parts are first token, mean of the others, all."""
    first_token, per_token, wall = (
        replace(comparison([parts[:, :, which]], seed), histogram=None) for which in range(parts.shape[2])
    )
    per_second = tuple(1000 * batch / each.median_ms for each in (per_token.first, per_token.second))
    return PointMeasurement(point.prompt, point.new, first_token, per_token, wall, (per_second[0], per_second[1]))


def require_context(decoder: Decoder, points: Sequence[GenerationPoint], batch: int) -> None:
    """Let a decoder that is made for fewer tokens than the longest point fail now, not when half is measured.

    Raises
    ------
    ModelError
        It is.
    """
    longest = max(point.total for point in points)
    decoder.generate(prompts(GenerationPoint(longest - 1, 1), batch, decoder.vocabulary, 0), 1)
