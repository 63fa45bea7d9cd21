"""What every way to generate offers to the timing, and what one generation gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Generated:
    """``tokens`` int64 [N, new], and the milliseconds from token to token, ``step_ms`` [new]: the first of them is for
    the whole prompt.
    """

    tokens: np.ndarray
    step_ms: np.ndarray


class Decoder(Protocol):
    """A decoder that stands ready; its tokens are below ``vocabulary``."""

    @property
    def vocabulary(self) -> int: ...

    def generate(self, ids: np.ndarray, new: int) -> Generated:
        """``new`` tokens after the prompts ``ids`` int64 [N, S], each the likeliest; none of them ends it.

        Raises
        ------
        ModelError
            The runtime cannot run the model, or not so far.
        """
