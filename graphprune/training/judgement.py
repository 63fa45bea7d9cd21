"""What held-out samples say of a network."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log

_LARGEST_NATS = log(1e300)


@dataclass(frozen=True)
class Judgement:
    """Of one batch: the mean loss over ``weight`` samples or tokens; ``hits`` of how many largest outputs are right.

    ``nats`` is the mean cross-entropy of next tokens, of text.
    """

    loss: float
    weight: int
    hits: tuple[int, int] = (0, 0)
    nats: float | None = None


@dataclass
class Verdict:
    """Of all batches together."""

    weight: int = 0
    _loss: float = 0.0
    _right: int = 0
    _positions: int = 0
    _nats: float | None = None

    def add(self, found: Judgement) -> None:
        """One more batch."""
        self.weight += found.weight
        self._loss += found.loss * found.weight
        self._right, self._positions = self._right + found.hits[0], self._positions + found.hits[1]
        if found.nats is not None:
            self._nats = (self._nats or 0.0) + found.nats * found.weight

    @property
    def loss(self) -> float:
        return self._loss / max(1, self.weight)

    @property
    def score(self) -> float | None:
        """The share of right outputs, where they can be that."""
        return self._right / self._positions if self._positions else None

    @property
    def perplexity(self) -> float | None:
        """Of text."""
        if self._nats is None:
            return None
        mean = self._nats / max(1, self.weight)
        return exp(mean) if mean < _LARGEST_NATS else float("inf")
