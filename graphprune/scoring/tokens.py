"""Which tokens of a batch count."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from graphprune.data.batching import Batch

_MASK_INPUT = "attention_mask"


def token_mask(part: Batch) -> NDArray[np.bool_] | None:
    """(B, S), false for padding; None where no input ``attention_mask`` tells."""
    mask = part.feeds.get(_MASK_INPUT)
    return mask.astype(bool) if mask is not None and mask.ndim == 2 else None
