"""What surrounds torch's recurrent layers."""

from __future__ import annotations

from torch import Tensor


def by_direction(y: Tensor, directions: int) -> Tensor:
    """``(time, N, directions * hidden)`` as ONNX has it: ``(time, directions, N, hidden)``."""
    time, batch, width = y.shape
    return y.reshape(time, batch, directions, width // directions).permute(0, 2, 1, 3)
