"""Decoders cut by hand, and the folders that tools lay down around them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from graphprune.ir.loading import load
from graphprune.ir.model import Model
from tests.decoder_graphs import Sizes, plain_decoder

CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "num_hidden_layers": 3,
    "layer_types": ["full_attention", "sliding_attention", "other"],
    "eos_token_id": [1, 2, 3],
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_size": 32,
    "intermediate_size": 24,
    "of our own": {"é": [1, 2, 3]},
}
GENAI: dict[str, Any] = {
    "model": {
        "type": "llama",
        "decoder": {
            "filename": "model.onnx",
            "head_size": 16,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "sliding_window": {"layers": [1, 2], "window_size": 8},
            "num_hidden_layers": 3,
        },
    },
    "search": {"num_beams": 1},
}


def named(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Every node is called as what it makes, as exporters' names say where a node stands."""
    for node in proto.graph.node:
        node.name = f"make_{node.output[0]}"
    return proto


def dense(**sizes: Any) -> onnx.ModelProto:
    return named(plain_decoder(Sizes(**sizes)))


def without_layer(proto: onnx.ModelProto, layer: int) -> onnx.ModelProto:
    """Its cache goes along, the others are renumbered. Not the first layer, on whose past the mask hangs."""
    return _renumbered(_bridged(proto, f"stream{layer + 1}", f"stream{layer}"), layer)


def without_attention(proto: onnx.ModelProto, layer: int) -> onnx.ModelProto:
    return _renumbered(_bridged(proto, f"middle{layer}", f"stream{layer}"), layer)


def _bridged(proto: onnx.ModelProto, gone: str, before: str) -> onnx.ModelProto:
    for node in proto.graph.node:
        node.input[:] = [before if name == gone else name for name in node.input]
    return proto


def _renumbered(proto: onnx.ModelProto, gone: int) -> onnx.ModelProto:
    graph = proto.graph
    for values in (graph.input, graph.output):
        kept = [value for value in values if f".{gone}." not in value.name]
        del values[:]
        values.extend(kept)
    needed, live = {value.name for value in graph.output}, []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            live.append(node)
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(live))
    graph.initializer.extend(weights)

    def name(old: str) -> str:
        return re.sub(
            r"^(past_key_values|present)\.(\d+)\.",
            lambda found: f"{found[1]}.{int(found[2]) - (int(found[2]) > gone)}.",
            old,
        )

    for value in (*graph.input, *graph.output):
        value.name = name(value.name)
    for node in graph.node:
        node.input[:] = map(name, node.input)
        node.output[:] = map(name, node.output)
    return proto


def model_of(proto: onnx.ModelProto) -> Model:
    return load(proto)


def lay_down(
    path: Path, proto: onnx.ModelProto, files: Mapping[str, Any], model: str = "model.onnx", data: str = ""
) -> Path:
    """A folder with a network and other files; dicts become JSON, ``data`` is the name of the external data."""
    (path / model).parent.mkdir(parents=True)
    if data:
        onnx.save_model(proto, str(path / model), save_as_external_data=True, location=data, size_threshold=100)
    else:
        onnx.save(proto, str(path / model))
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content, indent=4, ensure_ascii=False) + "\n"
        (path / name).write_text(text, encoding="utf-8")
    return path
