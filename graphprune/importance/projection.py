"""Scores of attention heads and MLP neurons by the size of what they write, of AMP (IJCNN 2025): low goes first.

Forward only and without labels. Both stream over batches of prompts and keep one float64 sum per head or neuron; every
prompt counts once, whatever its length.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from graphprune.errors import DataError
from graphprune.importance.vip import Floats, Matrix

_BLOCK = 1 << 22  # float32 values held at once: 16 MiB


class _PromptMean:
    """Mean over prompts of the mean over a prompt's tokens of ``size`` quantities."""

    def __init__(self, size: int, what: str) -> None:
        self.prompts = 0
        self._what = what
        self._sum = np.zeros(size)

    def scores(self) -> Matrix:
        """(size,) float64 in the unit of the activations, at least 0.

        Raises
        ------
        DataError
            There was no prompt.
        """
        if not self.prompts:
            raise DataError(f"there are no prompts to score {self._what} by", "give calibration data")
        return self._sum / self.prompts

    def _add(self, token_sums: Matrix, tokens: NDArray[np.int64]) -> None:
        """Sums over tokens (B, size) of B prompts, and how many tokens (B,) each has."""
        if not tokens.all():
            raise DataError(f"prompt {self.prompts + int(np.argmin(tokens))} has no valid token", "drop it")
        if not np.isfinite(token_sums).all():
            raise DataError(f"the activations of {self._what} are not finite", "run the model in float32, check inputs")
        self._sum += (token_sums / tokens[:, None]).sum(0)
        self.prompts += len(tokens)


class StreamedHeadProjection(_PromptMean):
    """``I_h``: mean over prompts of ``(1/S) sum_s |a_{s,h} W_O^(h)|_1`` (AMP, head importance).

    ``a_{s,h}`` is the output of head h at token s and ``W_O^(h)`` the rows of the output projection that read it.
    Projected in float32 like the authors' code, whatever the type of the model; summed over tokens in float64.

    Parameters
    ----------
    projection
        ``W_O`` (H, d_h, D), any float type.
    """

    def __init__(self, projection: ArrayLike) -> None:
        self._projection: NDArray[np.float32] = np.asarray(projection, np.float32)
        if self._projection.ndim != 3:
            raise DataError(f"W_O has shape {self._projection.shape}, not (heads, head size, width)", "reshape it")
        super().__init__(len(self._projection), "heads")

    def update(self, outputs: Floats, mask: ArrayLike | None = None) -> None:
        """Count B prompts.

        Parameters
        ----------
        outputs
            (B, S, H, d_h) head outputs, any float type; not changed. Projected head by head in blocks of tokens: the
            (B, S, H, D) array never exists.
        mask
            (B, S), true where a token counts; all do without it. What the others hold is ignored, NaN included.

        Raises
        ------
        DataError
            Shapes do not fit, a prompt has no token, or a score is not finite.
        """
        heads, size, width = self._projection.shape
        if outputs.ndim != 4 or outputs.shape[2:] != (heads, size):
            raise DataError(f"head outputs have shape {outputs.shape}, not (B, S, {heads}, {size})", "reshape them")
        valid = _valid(mask, outputs.shape[:2])
        sums = np.zeros((len(outputs), heads))
        rows = max(1, _BLOCK // width)
        prompt_of = np.nonzero(valid)[0]
        for head, matrix in enumerate(self._projection):
            tokens = outputs[:, :, head][valid].astype(np.float32)
            for start in range(0, len(tokens), rows):
                written = tokens[start : start + rows] @ matrix
                norms = np.abs(written, out=written).sum(1)
                sums[:, head] += np.bincount(prompt_of[start : start + rows], norms, len(outputs))
        self._add(sums, valid.sum(1))


class StreamedNeuronProjection(_PromptMean):
    """``I_m``: mean over prompts of ``(1/S) sum_s |x_{s,m}|`` (AMP, neuron importance).

    ``x`` is what enters the second (down) projection of the MLP, after activation and gate. The weights of that
    projection play no part.

    Parameters
    ----------
    neurons
        Width M of the hidden layer.
    """

    def __init__(self, neurons: int) -> None:
        super().__init__(neurons, "neurons")

    def update(self, hidden: Floats, mask: ArrayLike | None = None) -> None:
        """Count B prompts (or samples).

        Parameters
        ----------
        hidden
            (B, ..., M) activations, any float type; not changed. The middle axes, if any, are tokens.
        mask
            (B, ...), true where a token counts; all do without it. What the others hold is ignored, NaN included.

        Raises
        ------
        DataError
            Shapes do not fit, a prompt has no token, or a score is not finite.
        """
        neurons = len(self._sum)
        if hidden.ndim < 2 or hidden.shape[-1] != neurons:
            raise DataError(f"hidden activations have shape {hidden.shape}, not (B, ..., {neurons})", "reshape them")
        valid = _valid(mask, hidden.shape[:-1]).reshape(len(hidden), -1)
        sums = np.zeros((len(hidden), neurons))
        rows = max(1, _BLOCK // neurons)
        for prompt, chosen in enumerate(valid):
            tokens = hidden[prompt].reshape(-1, neurons)
            for start in range(0, len(tokens), rows):
                block = tokens[start : start + rows][chosen[start : start + rows]]  # a copy
                sums[prompt] += np.abs(block, out=block).sum(0, dtype=np.float64)
        self._add(sums, valid.sum(1))


def _valid(mask: ArrayLike | None, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The mask of tokens as booleans of ``shape``."""
    valid = np.ones(shape, np.bool_) if mask is None else np.asarray(mask).astype(np.bool_)
    if valid.shape != shape:
        raise DataError(f"the token mask has shape {valid.shape}, not {shape}", "give one value per token")
    return valid
