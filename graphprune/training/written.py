"""The check at the end: the model with the trained weights does in ONNX Runtime what the trained module does in
PyTorch.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

from graphprune.data.batching import Arrays
from graphprune.errors import ValidationFailed
from graphprune.ir import export
from graphprune.ir.model import Model
from graphprune.runtime.sessions import RuntimeOptions, open_session, run
from graphprune.training.network import TrainableNetwork

_TOLERANCE = 1e-3
_HALF_TOLERANCE = 3e-2


def check_written(trained: Model, network: TrainableNetwork, feeds: Arrays, places: np.ndarray | None = None) -> float:
    """Run both on one batch, the network as :meth:`TrainableNetwork.settle` left it; returns the largest difference
    relative to the largest output. Of text the network's one answer counts, at ``places`` (N, S), which are no padding.

    Raises
    ------
    ValidationFailed
        They differ by more than 1e-3 (3e-2 where weights are in 16 bits).
    """
    with tempfile.TemporaryDirectory(prefix="graphprune-") as folder:
        path = Path(folder) / "trained.onnx"
        export.write(trained, path)
        written = run(open_session(path, RuntimeOptions()), feeds)
        if network.answer is not None:
            written = [written[network.answer]]
    with torch.no_grad():
        wanted = [output.float().numpy() for output in network(feeds)]
    worst = 0.0
    for one, other in zip(written, wanted, strict=True):
        if places is not None:
            one, other = one[places], other[places]
        if one.dtype.kind == "f":
            difference = float(np.abs(one.astype(np.float32) - other).max(initial=0))
            worst = max(worst, difference / max(float(np.abs(other).max(initial=0)), 1e-12))
    tolerance = _HALF_TOLERANCE if network.is_half else _TOLERANCE
    if not worst <= tolerance:
        raise ValidationFailed(
            f"the trained weights do not do in the ONNX model what they do in PyTorch: the outputs differ by "
            f"{worst:.1e} of the largest (limit {tolerance:.0e})",
            "report it with the model",
        )
    return worst
