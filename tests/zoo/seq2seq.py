"""Encoder-decoder models in one forward pass.

A decoder's cross-attention can be removed like every other branch: its projections of the encoder's states go with it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.zoo.entry import MASKED, Axes, Entry
from tests.zoo.library import TOKEN_IDS, VOCABULARY, Interface, masked_tokens, noise

_TARGET: Axes = {
    "decoder_input_ids": {0: "batch", 1: "target"},
    "decoder_attention_mask": {0: "batch", 1: "target"},
}
_BART: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 40,
    "decoder_start_token_id": 0,
    "forced_eos_token_id": 0,
    **TOKEN_IDS,
}


def _target() -> dict[str, Tensor]:
    ids = torch.randint(0, VOCABULARY, (2, 5))
    return {"decoder_input_ids": ids, "decoder_attention_mask": torch.ones_like(ids)}


def _translation() -> dict[str, Tensor]:
    return {**masked_tokens(), **_target()}


def _transcription() -> dict[str, Tensor]:
    return {**noise("input_features", 10, 24)(), **_target()}


_WITHOUT_CACHE = {"use_cache": False}
_text = Interface("ForConditionalGeneration", _translation, {**MASKED, **_TARGET}, "logits", _WITHOUT_CACHE).entry
_speech = Interface(
    "ForConditionalGeneration",
    _transcription,
    {"input_features": {0: "batch"}, **_TARGET},
    "logits",
    _WITHOUT_CACHE,
).entry

ENTRIES: tuple[Entry, ...] = (
    # Relative position biases for encoder and decoder. In torchscript's export they ask the first block's inside for
    # the sequence length, and a reader outside the branch is refused.
    _text(
        "t5",
        "T5",
        10,
        fewer={"torchscript": 8},
        vocab_size=VOCABULARY,
        d_model=32,
        d_kv=12,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        relative_attention_num_buckets=8,
    ),
    # Norms behind the joins, learned positions.
    _text("bart", "Bart", 10, max_position_embeddings=32, **_BART),
    _text("bart_sdpa", "Bart", 10, max_position_embeddings=32, attn_implementation="sdpa", **_BART),
    # Norms in front of the branches, sinusoidal positions.
    _text("pegasus", "Pegasus", 10, max_position_embeddings=32, **_BART),
    # Two convolutions over the spectrogram in front of the encoder.
    _speech("whisper", "Whisper", 10, num_mel_bins=10, max_source_positions=12, max_target_positions=16, **_BART),
)
