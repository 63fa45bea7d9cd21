"""Folders as onnxruntime-genai's builder and optimum lay them, with small decoders by hand."""

from __future__ import annotations

import json
from pathlib import Path

import onnx

from tests.decoder_graphs import Sizes, fused_decoder, plain_decoder

SIZES = Sizes(layers=2)


def free_depth(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Head sizes of the cache as a symbol, as the builder writes them."""
    for value in (*proto.graph.input, *proto.graph.output):
        if value.name.startswith(("past", "present")):
            value.type.tensor_type.shape.dim[3].dim_param = "kv_cache_dim"
    return proto


def genai_folder(folder: Path, sizes: Sizes = SIZES) -> Path:
    folder.mkdir()
    onnx.save(free_depth(fused_decoder(sizes)), folder / "model.onnx")
    names = {f"{when}_{kind}_names": f"{stem}.%d.{kind}" for when, stem, kind in _CACHE}
    decoder = {
        "filename": "model.onnx",
        "head_size": sizes.depth,
        "hidden_size": sizes.width,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.kv_heads,
        "num_hidden_layers": sizes.layers,
        "inputs": {"input_ids": "input_ids", "attention_mask": "attention_mask"}
        | {name: text for name, text in names.items() if name.startswith("past")},
        "outputs": {"logits": "logits"} | {name: text for name, text in names.items() if name.startswith("present")},
    }
    tokens = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "vocab_size": sizes.vocabulary}
    content = {
        "model": {"type": "llama", "context_length": sizes.positions, "decoder": decoder, **tokens},
        "search": {"max_length": sizes.positions, "past_present_share_buffer": True},
    }
    (folder / "genai_config.json").write_text(json.dumps(content))
    return folder


def optimum_folder(folder: Path, sizes: Sizes = SIZES) -> Path:
    folder.mkdir()
    onnx.save(plain_decoder(sizes), folder / "model.onnx")
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 48, "head_dim": sizes.depth}))
    return folder


_CACHE = [
    ("past", "past_key_values", "key"),
    ("past", "past_key_values", "value"),
    ("present", "present", "key"),
    ("present", "present", "value"),
]
