"""How far a block turns what enters it: the distance between the directions of its input and its output.

ShortGPT's block influence (Men et al., 2024) is ``1 - cos``, the angular distance of Gromov et al. (2024)
``arccos(cos) / pi``; both are means over rows: tokens, or whole samples.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Measure = Literal["cosine", "angle"]

_CHUNK = 1 << 20  # values that are float64 at once: 8 MiB


def turn(entries: NDArray[np.floating], exits: NDArray[np.floating], measure: Measure) -> NDArray[np.float64]:
    """Distance (n,) between the directions of paired rows (n, d): ``cosine`` from 0 to 2, ``angle`` from 0 to 1.

    Two rows of zeros have the same direction; zeros and anything else are at a right angle.
    """
    parts = [np.zeros(0)]
    step = max(1, _CHUNK // max(1, entries.shape[1]))
    for start in range(0, len(entries), step):
        one, other = (rows[start : start + step].astype(np.float64) for rows in (entries, exits))
        sizes = np.linalg.norm(one, axis=1), np.linalg.norm(other, axis=1)
        product = sizes[0] * sizes[1]
        cosine = np.clip(np.einsum("nd,nd->n", one, other) / np.where(product > 0, product, 1.0), -1, 1)
        cosine = np.where((sizes[0] == 0) & (sizes[1] == 0), 1.0, cosine)
        parts.append(1 - cosine if measure == "cosine" else np.arccos(cosine) / np.pi)
    return np.concatenate(parts)
