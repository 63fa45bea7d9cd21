"""Language models on text: perplexity, and how often and how far their next tokens are not those of the original."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import exp, log, sqrt
from typing import Any

import numpy as np

from graphprune.data.batching import Arrays, Batch
from graphprune.data.dataset import Data, TokenNames
from graphprune.errors import DataError
from graphprune.evaluation.paired import Difference, Estimate, interval
from graphprune.importance.logits import log_shares
from graphprune.runtime.sessions import run

_HELD_BYTES = 128 << 20  # of the original's scores, while the other models are asked
_ROWS = 32  # positions whose scores are in float64 at a time
_LOOKED_AHEAD = 1e-3  # of the largest score: more than rounding changes at a position when a later token is another
_LARGEST_LOSS = log(np.finfo(np.float64).max)


@dataclass(frozen=True)
class TextFigure:
    """A figure and its standard error over chunks, None where there is one chunk only, or no end of the figure."""

    value: float
    standard_error: float | None


@dataclass(frozen=True)
class TextFigures:
    """What a model makes of ``tokens`` next tokens.

    ``agreement`` is the share of them for which its likeliest is the original's, ``kl_nats`` the mean divergence of
    its distribution from the original's (Kullback-Leibler, the original's first), in nats per token.
    """

    tokens: int
    perplexity: TextFigure
    agreement: TextFigure
    kl_nats: TextFigure


@dataclass(frozen=True)
class TextQuality:
    """Of the original and of the pruned network on the same chunks."""

    before: TextFigures
    after: TextFigures


@dataclass(frozen=True)
class Mean:
    """A mean over tokens: ``influence`` (chunks,) is what each chunk adds to it, times the number of chunks."""

    value: float
    influence: np.ndarray

    @property
    def figure(self) -> TextFigure:
        chunks = len(self.influence)
        is_known = chunks > 1 and bool(np.isfinite(self.influence).all())
        return TextFigure(self.value, float(self.influence.std(ddof=1)) / sqrt(chunks) if is_known else None)

    @property
    def estimate(self) -> Estimate:
        """The same for a table of several models; of two chunks at least."""
        return Estimate(self.value, float(self.influence.std(ddof=1)) / sqrt(len(self.influence)))

    def beyond(self, first: Mean) -> Difference:
        """This minus the first model's on the same chunks."""
        gap = (self.influence - first.influence).std(ddof=1)
        return interval(self.value - first.value, float(gap) / sqrt(len(self.influence)))


@dataclass
class TextScores:
    """Sums of one model for each chunk seen: next tokens, their negative log-likelihood and divergence in nats, and how
    many agree with the original.
    """

    tokens: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    divergences: list[float] = field(default_factory=list)
    agreeing: list[int] = field(default_factory=list)

    @property
    def perplexity(self) -> Mean:
        loss = _mean(self.losses, self.tokens)
        value = exp(loss.value) if loss.value < _LARGEST_LOSS else float("inf")
        return Mean(value, value * loss.influence)

    @property
    def agreement(self) -> Mean:
        return _mean(self.agreeing, self.tokens)

    @property
    def kl_nats(self) -> Mean:
        return _mean(self.divergences, self.tokens)

    @property
    def figures(self) -> TextFigures:
        parts = (self.perplexity.figure, self.agreement.figure, self.kl_nats.figure)
        return TextFigures(sum(self.tokens), *parts)

    def add(self, original: np.ndarray, own: np.ndarray | None, ids: np.ndarray, mask: np.ndarray | None) -> None:
        """One chunk: scores [S, V] for ``ids`` [S] of the original and, unless this is it, of this model; where
        ``mask`` [S] is 0 is padding. A chunk without two tokens in a row adds nothing.
        """
        is_token = np.ones(len(ids), bool) if mask is None else mask.astype(bool)
        places = np.flatnonzero(is_token[:-1] & is_token[1:])
        loss = divergence = 0.0
        agreeing = 0
        for start in range(0, len(places), _ROWS):
            rows = places[start : start + _ROWS]
            first = log_shares(original[rows])
            second = first if own is None else log_shares(own[rows])
            loss -= float(second[np.arange(len(rows)), ids[rows + 1]].sum())
            if own is not None:
                shares = np.exp(first)
                gaps = np.subtract(first, second, out=np.zeros_like(first), where=shares > 0)
                divergence += float((shares * gaps).sum())
            agreeing += int((first.argmax(1) == second.argmax(1)).sum())
        if len(places):
            self.tokens.append(len(places))
            self.losses.append(loss)
            self.divergences.append(divergence)
            self.agreeing.append(agreeing)


def score_text(sessions: Sequence[Any], data: Data) -> tuple[TextScores, ...] | None:
    """Every model on every chunk, the first being the original; None where that is no language model.

    It is one if it gives scores [N, S, V] at each position, which tokens further on do not change, and the samples have
    no labels. The models are asked in turn: what the original gives for some chunks is held until all others have
    seen these. A model may take less of an empty cache than the original.

    Raises
    ------
    DataError
        There are no two tokens in a row.
    """
    names = data.tokens
    output = None if names is None else _scores_name(sessions[0])
    if names is None or output is None:
        return None
    found = tuple(TextScores() for _ in sessions)
    chunks, is_known = data.batches(1), False
    while held := _held(sessions[0], chunks, output):
        if not is_known and not _is_language_model(sessions[0], held[0][0], names.ids, output, held[0][1]):
            return None
        is_known = True
        for place, scores in enumerate(found):
            _score(scores, held, sessions[place] if place else None, names, output)
        held.clear()  # before the next ones are there
    if not found[0].tokens:
        raise DataError(f"{data.origin} holds no two tokens in a row", "give more text")
    return found


def _score(
    scores: TextScores, held: Sequence[tuple[Batch, np.ndarray]], session: Any, names: TokenNames, output: str
) -> None:
    """Add what a model makes of chunks, for which the original's scores are held; ``session`` is None for it."""
    for part, first in held:
        own = None if session is None else run(session, _taken(session, part.feeds), [output])[0]
        mask = part.feeds.get(names.mask)
        for row, ids in enumerate(part.feeds[names.ids]):
            seen = None if mask is None else mask[row][-len(ids) :]
            scores.add(first[row], None if own is None else own[row], ids, seen)


def _held(session: Any, chunks: Iterator[Batch], output: str) -> list[tuple[Batch, np.ndarray]]:
    """The next chunks with their scores, as many as fit the memory for these, at least one; none at the end."""
    held, held_bytes, latest_bytes = [], 0, 0
    while held_bytes + latest_bytes <= _HELD_BYTES and (part := next(chunks, None)) is not None:
        held.append((part, run(session, part.feeds, [output])[0]))
        latest_bytes = held[-1][1].nbytes
        held_bytes += latest_bytes
    return held


def _taken(session: Any, feeds: Arrays) -> Arrays:
    """What a model takes of the original's feeds, an empty cache in its own sizes."""
    taken = {}
    for value in session.get_inputs():
        array = feeds.get(value.name)
        if array is not None and not array.size:
            pairs = zip(value.shape, array.shape, strict=True)
            array = np.zeros([dim if isinstance(dim, int) else size for dim, size in pairs], array.dtype)
        if array is not None:
            taken[value.name] = array
    return taken


def _scores_name(session: Any) -> str | None:
    outputs = [output.name for output in session.get_outputs()]
    return next((name for name in outputs if name.endswith("logits")), outputs[0] if outputs else None)


def _is_language_model(session: Any, part: Batch, name: str, output: str, scores: Any) -> bool:
    ids = part.feeds[name]
    if part.labels is not None or not isinstance(scores, np.ndarray) or scores.ndim != 3:
        return False
    if scores.shape[:2] != ids.shape or scores.shape[-1] <= int(ids.max()):
        return False
    other = ids.copy()
    other[:, -1] = (ids[:, -1] + 1) % scores.shape[-1]
    before, after = scores[:, :-1], run(session, {**part.feeds, name: other}, [output])[0][:, :-1]
    moved = before != after
    gaps = np.abs(before[moved].astype(np.float64) - after[moved])
    ends = (reduce(before, where=np.isfinite(before), initial=0.0) for reduce in (np.min, np.max))
    limit = _LOOKED_AHEAD * max(abs(float(end)) for end in ends)
    return bool(gaps.max(initial=0.0) <= limit)


def _mean(sums: Sequence[float], tokens: Sequence[int]) -> Mean:
    total, counts = np.asarray(sums, np.float64), np.asarray(tokens, np.float64)
    value = float(total.sum() / counts.sum())
    with np.errstate(invalid="ignore"):  # where a loss is infinite
        return Mean(value, (total - value * counts) / counts.mean())
