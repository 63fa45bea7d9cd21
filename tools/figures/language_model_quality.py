"""Perplexity and parameters of a decoder, the same for ONNX files and torch modules."""

from __future__ import annotations

import math
import resource
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Scores = Callable[[np.ndarray], np.ndarray]
"""Logits [tokens, vocabulary] float32 of one chunk of ids [tokens] int64."""


def perplexity(scores: Scores, chunks: np.ndarray) -> float:
    """Of all next tokens within the ``chunks`` [chunks, tokens], with nothing before each."""
    total = 0.0
    for ids in chunks:
        logits = scores(ids)[:-1]
        highest = logits.max(1)
        logits = logits - highest[:, None]
        told = logits[np.arange(len(logits)), ids[1:]]
        total += float((np.log(np.exp(logits).sum(1, dtype=np.float64)) - told).sum())
    return math.exp(total / (chunks.shape[0] * (chunks.shape[1] - 1)))


def feeds(shapes: Mapping[str, Sequence[Any]], head_size: int, ids: np.ndarray) -> dict[str, np.ndarray]:
    """The inputs of a decoder, by name and shape, for ids [tokens] and an empty cache."""

    def feed(name: str) -> np.ndarray:
        if name == "input_ids":
            return ids[None]
        if name == "attention_mask":
            return np.ones_like(ids[None])
        if name == "position_ids":
            return np.arange(len(ids))[None]
        return np.zeros((1, shapes[name][1], 0, head_size), np.float32)

    return {name: feed(name) for name in shapes}


def onnx_scores(path: Path, head_size: int, threads: int) -> Scores:
    """Of a decoder with a cache."""
    from graphprune.runtime.sessions import RuntimeOptions, open_session, run

    session = open_session(path, RuntimeOptions(threads=threads))
    shapes = {each.name: each.shape for each in session.get_inputs()}

    def scores(ids: np.ndarray) -> np.ndarray:
        found: np.ndarray = run(session, feeds(shapes, head_size, ids), ["logits"])[0]
        logits: np.ndarray = found[0]
        return logits

    return scores


def torch_scores(model: Any) -> Scores:
    """Of a causal language model of transformers."""
    import torch

    def scores(ids: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            found: np.ndarray = model(torch.from_numpy(ids)[None], use_cache=False).logits[0].float().numpy()
        return found

    return scores


def onnx_parameters(model: Any) -> int:
    """Numbers in the weights of a file or proto, what several nodes read once; tables of rotary positions are none."""
    import onnx

    proto = onnx.load(model, load_external_data=False) if isinstance(model, Path) else model
    weights = (each for each in proto.graph.initializer if each.data_type == onnx.TensorProto.FLOAT)
    return sum(math.prod(each.dims) for each in weights if not each.name.endswith(("cos_cache", "sin_cache")))


def peak_mib() -> int:
    """The most memory that this process has held."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def torch_parameters(module: Any) -> int:
    """A tied embedding counts once."""
    return sum(int(each.numel()) for each in module.parameters())


def checkpoint_parameters(folder: Path, prefix: str = "") -> int:
    """In the tensors of a transformers folder's model.safetensors whose names begin so."""
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "np") as tensors:
        names = [name for name in tensors.keys() if name.startswith(prefix)]  # noqa: SIM118 - no mapping
        return sum(math.prod(tensors.get_slice(name).get_shape()) for name in names)


def layer_count(parameters: int, layer: int, share: float) -> int:
    """How many whole layers of so many parameters come nearest to a share of all."""
    return round(share * parameters / layer)
