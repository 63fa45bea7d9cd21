"""How a weight lies in the file and in its module: torch's layers turn, split and reorder some of them.

A layout is named in the module's record of its weights, so that a copy or a pickle of the module keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

_LSTM = (0, 2, 3, 1)  # ONNX has the gates i, o, f, c; torch i, f, g (= c), o
_GRU = (1, 0, 2)  # ONNX has z, r, h; torch r, z, n (= h)
_RNN = (0,)
GATES = {"LSTM": _LSTM, "GRU": _GRU, "RNN": _RNN}


@dataclass(frozen=True)
class Layout:
    """``split`` gives the arrays of the module from the file's one; ``join`` is its inverse."""

    split: Callable[[np.ndarray], list[np.ndarray]]
    join: Callable[[Sequence[np.ndarray]], np.ndarray]


def _gated(op: str, *, is_bias: bool) -> Layout:
    """Gates of each direction; a bias holds that of the input, then that of the hidden state."""
    order = GATES[op]
    back = tuple(order.index(gate) for gate in range(len(order)))
    rows = 2 if is_bias else 1

    def reordered(block: np.ndarray, gates: Sequence[int]) -> np.ndarray:
        parts = np.split(block, len(gates))
        return np.concatenate([parts[gate] for gate in gates])

    def split(values: np.ndarray) -> list[np.ndarray]:
        return [reordered(block, order) for direction in values for block in np.split(direction, rows)]

    def join(parts: Sequence[np.ndarray]) -> np.ndarray:
        blocks = [reordered(part, back) for part in parts]
        return np.stack([np.concatenate(blocks[i : i + rows]) for i in range(0, len(blocks), rows)])

    return Layout(split, join)


LAYOUTS: dict[str, Layout] = {
    "same": Layout(lambda values: [values], lambda parts: parts[0]),
    # axes of one are put back by the reader
    "flat": Layout(lambda values: [values.reshape(-1)], lambda parts: parts[0]),
    "transposed": Layout(lambda values: [values.T], lambda parts: parts[0].T),
    **{f"{op} weight": _gated(op, is_bias=False) for op in GATES},
    **{f"{op} bias": _gated(op, is_bias=True) for op in GATES},
}
