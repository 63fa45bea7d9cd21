"""The written folder loaded by transformers, and its logits beside those of the pruned ONNX file."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from graphprune.base import extras
from graphprune.data.dataset import input_specs
from graphprune.decoder.interface import decoder_interface
from graphprune.decoder.steps import prefill
from graphprune.errors import ValidationFailed
from graphprune.ir.model import Model
from graphprune.runtime.sessions import RuntimeOptions, open_model, run

_SAMPLES, _TOKENS = 2, 16
_TOLERANCE = {2: 5e-2, 4: 1e-3}  # by bytes of a weight: the folder may hold the file's weights rounded


def can_prove() -> bool:
    """Whether PyTorch and transformers are here."""
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "transformers"))


def difference(folder: Path, pruned: Model, weight_bytes: int, seed: int = 0) -> float | None:
    """Largest difference of the logits, relative to the largest of the file's; None for a file that is no decoder.

    Raises
    ------
    ValidationFailed
        transformers does not load the folder, or its logits are others.
    """
    interface = decoder_interface(pruned)
    if interface is None:
        return None
    torch, transformers = extras.torch(), extras.transformers()
    try:
        module: Any = transformers.AutoModelForCausalLM.from_pretrained(
            str(folder), dtype=torch.float32, local_files_only=True
        )
    except (ValueError, RuntimeError, OSError, KeyError, TypeError) as error:
        text = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValidationFailed(
            f"transformers does not load the result: {text}", "deploy the ONNX file instead"
        ) from None
    config = module.config.get_text_config()
    ids = np.random.default_rng(seed).integers(0, config.vocab_size, (_SAMPLES, _TOKENS))
    depth = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    sizes = {dim: depth for tensor in interface.cache for dim in tensor.dims[3:] if isinstance(dim, str)}
    feeds = prefill(interface, {spec.name: spec for spec in input_specs(pruned)}, ids, sizes=sizes)
    (expected,) = run(open_model(pruned, RuntimeOptions()), feeds, [interface.logits])
    with torch.no_grad():
        logits = module(torch.from_numpy(ids)).logits.float().numpy()
    relative = float(np.abs(logits - expected).max() / max(np.abs(expected).max(), 1e-12))
    if not relative <= _TOLERANCE[weight_bytes]:
        raise ValidationFailed(
            f"the result's logits differ from those of the pruned ONNX file by {relative:.1e} of the largest",
            "name the ONNX file that was exported from this folder, and the pruned file made from that",
        )
    return relative
