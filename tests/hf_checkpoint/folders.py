"""Hugging Face folders, made by hand: a decoder's weights under other names, transposed, and in other files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tests.model_folder.by_hand import CONFIG

_PARTS = {
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "o": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
    "norm": "input_layernorm",
    "post": "post_attention_layernorm",
}
LLAMA = {**CONFIG, "layer_types": ["full_attention", "sliding_attention", "full_attention"], "head_dim": 16}


def weights_of(proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}


def tensors_of(proto: onnx.ModelProto, layers: int = 3) -> dict[str, np.ndarray]:
    """The weights of a plain decoder as a checkpoint names and turns them."""
    weights = weights_of(proto)
    found = {
        f"model.layers.{i}.{name}.weight": np.ascontiguousarray(weights[f"{part}{i}"].T)
        for i in range(layers)
        for part, name in _PARTS.items()
        if f"{part}{i}" in weights
    }
    found["model.embed_tokens.weight"] = weights["embedding"]
    found["model.norm.weight"] = weights["norm_last"]
    return found | {"lm_head.weight": np.ascontiguousarray(weights["head"].T)}


def save(folder: Path, tensors: Mapping[str, np.ndarray], config: Mapping[str, Any] = LLAMA, shards: int = 1) -> Path:
    """The folder with its weights in ``shards`` files."""
    from safetensors.numpy import save_file

    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "tokenizer.json").write_text("{ }")
    if shards == 1:
        save_file(dict(tensors), folder / "model.safetensors", {"format": "pt"})
        return folder
    places = {name: f"model-{number % shards}.safetensors" for number, name in enumerate(tensors)}
    for file in sorted(set(places.values())):
        save_file({name: tensors[name] for name in tensors if places[name] == file}, folder / file, {"format": "pt"})
    index = {"metadata": {"total_size": 0}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def read(folder: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    found: dict[str, np.ndarray] = {}
    for file in sorted(folder.glob("*.safetensors")):
        found |= load_file(file)
    return found
