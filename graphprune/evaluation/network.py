"""A model file as a differentiable PyTorch module that says what ONNX Runtime says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from graphprune.base import extras
from graphprune.errors import ModelError
from graphprune.evaluation.attacks import Network
from graphprune.evaluation.samples import Samples

_SAME = 1e-3  # relative: what two runtimes' float32 may differ by, as a share of the largest score
_CHECKED = 32  # samples


def differentiable(path: Path, samples: Samples, expected: np.ndarray) -> Network:
    """The model in PyTorch, its weights frozen; checked against ``expected``, ONNX Runtime's scores for the samples.

    Raises
    ------
    ModelError
        They differ: then the gradients would belong to another network.
    RuntimeMissing
        torch is not installed.
    """
    torch = extras.torch()
    from graphprune.torch_bridge import to_torch

    module = to_torch(path).eval()
    for parameter in module.parameters():
        parameter.requires_grad_(False)

    def network(inputs: Any) -> Any:
        outputs = module(inputs)
        return outputs if torch.is_tensor(outputs) else outputs[0]

    count, batch = min(len(samples), max(_CHECKED, samples.batch)), samples.batch
    with torch.no_grad():
        parts = [network(torch.tensor(samples.inputs[at : at + batch])) for at in range(0, count, batch)]
    scores = torch.cat(parts).numpy()
    expected = expected[: len(scores)]
    error = float(np.abs(scores - expected).max() / max(float(np.abs(expected).max()), 1e-12))
    if not error <= _SAME:
        raise ModelError(
            f"{path.name} in PyTorch differs from ONNX Runtime by {error:.1e} of its largest score (limit {_SAME:.0e})",
            "leave out --attack and report the model",
        )
    return network
