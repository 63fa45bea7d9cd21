"""Tokens that only fill up a batch: what layers compute there is of no use, and nothing is fitted to it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from graphprune.ir.model import Model

_MASK = "attention_mask"
_MASK_RANK = 2


def mask_input(model: Model) -> str:
    """The input that tells tokens (1) from padding (0), of shape (samples, tokens); empty where there is none."""
    named = (tensor.name for tensor in model.graph.inputs if tensor.name == _MASK)
    return next((name for name in named if len(model.shapes.get(name, ())) == _MASK_RANK), "")


def counted(mask: np.ndarray, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """Which places of a tensor of ``shape`` (samples, tokens, channels), or (samples x tokens, channels), are tokens.

    None where ``mask`` (samples, tokens) does not say: it has other numbers than 0 and 1, or does not fit. Where it is
    longer, for it covers a past as well, its end counts.
    """
    if mask.ndim != _MASK_RANK or not np.isin(mask, (0, 1)).all():
        return None
    is_token: NDArray[np.bool_] = mask.astype(bool)
    places = shape[:-1]
    if len(places) == 1 and places[0] == is_token.size:
        return is_token.reshape(-1)
    if len(places) != _MASK_RANK or places[0] != len(is_token) or not 0 < places[1] <= is_token.shape[1]:
        return None
    return is_token[:, is_token.shape[1] - places[1] :]
