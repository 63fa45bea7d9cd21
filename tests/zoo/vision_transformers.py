"""Vision transformers: plain ones, ones with windows, pyramids, and an image tower beside a text tower."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.zoo.entry import MASKED, Entry
from tests.zoo.library import PIXELS, VOCABULARY, Interface, masked_tokens, pixels

_TOWER: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
_PLAIN: dict[str, Any] = {**_TOWER, "image_size": 16, "patch_size": 4, "num_labels": 5}
_WINDOWS: dict[str, Any] = {
    "image_size": 32,
    "patch_size": 2,
    "embed_dim": 16,
    "depths": [2, 2],
    "num_heads": [2, 4],
    "window_size": 4,
    "mlp_ratio": 1.5,
    "num_labels": 5,
}
_PYRAMID: dict[str, Any] = {
    "num_encoder_blocks": 2,
    "depths": [2, 2],
    "hidden_sizes": [16, 32],
    "num_attention_heads": [1, 2],
    "mlp_ratios": [2, 2],
    "strides": [4, 2],
    "num_labels": 5,
}


def _patches_to_keep() -> dict[str, Tensor]:
    """Images, and the noise that decides which of their patches are left out."""
    return {**pixels(16)(), "noise": torch.rand(2, 16)}


def _pairs() -> dict[str, Tensor]:
    return {**pixels(16)(), **masked_tokens()}


_classifier = Interface("ForImageClassification", pixels(16), PIXELS, "logits").entry
_classifier_32 = Interface("ForImageClassification", pixels(32), PIXELS, "logits").entry
_distilled = Interface("ForImageClassificationWithTeacher", pixels(16), PIXELS, "logits").entry
_segmenter = Interface("ForSemanticSegmentation", pixels(48), PIXELS, "logits").entry
_detector = Interface("ForObjectDetection", pixels(16, 24), PIXELS, "logits").entry
_pooled = Interface("Model", pixels(16), PIXELS, "pooler_output").entry
_features_32 = Interface("Model", pixels(32), PIXELS, "last_hidden_state").entry
_part = Interface("Model", _patches_to_keep, {**PIXELS, "noise": {0: "batch"}}, "last_hidden_state").entry
_pair = Interface("Model", _pairs, {**PIXELS, **MASKED}, "logits_per_image").entry

ENTRIES: tuple[Entry, ...] = (
    # Norms in front of the branches, a class token, learned positions.
    _classifier("vit", "ViT", 4, fast=True, **_PLAIN),
    _classifier("vit_sdpa", "ViT", 4, attn_implementation="sdpa", **_PLAIN),
    # A distillation token beside the class token, a head for each.
    _distilled("deit", "DeiT", 4, **_PLAIN),
    # Relative position biases, layer scale, the mean over patches.
    _classifier("beit", "Beit", 4, use_relative_position_bias=True, layer_scale_init_value=0.5, **_PLAIN),
    # Layer scale, gated MLP, class token beside the mean.
    _classifier("dinov2", "Dinov2", 4, use_swiglu_ffn=True, **_PLAIN),
    # Detection tokens behind the patches; positions are added again between the layers.
    _detector("yolos", "Yolos", 4, num_detection_tokens=3, **{**_PLAIN, "image_size": [16, 24]}),
    # A quarter of the patches, chosen by sorting noise.
    _part("vit_mae", "ViTMAE", 4, **_PLAIN),
    # Attention pooling: a learned probe attends to the patches, and one more MLP block follows.
    _pooled("siglip", "SiglipVision", 5, **_PLAIN),
    # Attention in padded windows of three, then over the whole image; relative positions by Einsum; NHWC throughout.
    _features_32(
        "sam",
        "SamVision",
        4,
        image_size=32,
        patch_size=8,
        output_channels=12,
        window_size=3,
        global_attn_indexes=[1],
        mlp_dim=48,
        num_pos_feats=16,
        **_TOWER,
    ),
    # Two towers of different width that meet in a product.
    _pair(
        "clip",
        "CLIP",
        8,
        text_config={**_TOWER, "vocab_size": VOCABULARY, "max_position_embeddings": 16, "eos_token_id": 2},
        vision_config={**_TOWER, "hidden_size": 24, "image_size": 16, "patch_size": 4},
        projection_dim=20,
    ),
    # Shifted windows by slices and concatenations, relative position biases; patches merge between the stages.
    _classifier_32("swin", "Swin", 8, fast=True, **_WINDOWS),
    # Cosine attention, position biases from a small MLP, norms at the end of each branch.
    _classifier_32("swinv2", "Swinv2", 8, **_WINDOWS),
    # Keys and values from fewer tokens, a depthwise convolution inside the MLP; the head reads every stage.
    _segmenter(
        "segformer",
        "Segformer",
        8,
        fast=True,
        sr_ratios=[4, 2],
        patch_sizes=[7, 3],
        decoder_hidden_size=24,
        **_PYRAMID,
    ),
    # Learned positions for each stage, a class token in the last.
    _classifier_32("pvt", "Pvt", 8, image_size=32, sequence_reduction_ratios=[4, 1], patch_sizes=[4, 2], **_PYRAMID),
    # Overlapping patches, no positions but those of the depthwise convolution inside the MLP.
    _classifier_32("pvt_v2", "PvtV2", 8, image_size=32, sr_ratios=[4, 2], patch_sizes=[7, 3], **_PYRAMID),
    # Attention within units whose queries are pooled by a maximum;
    # the first layer of the second stage has a projection.
    _classifier_32(
        "hiera",
        "Hiera",
        5,
        embed_dim=16,
        image_size=[32, 32],
        patch_stride=[4, 4],
        patch_padding=[3, 3],
        mlp_ratio=2.0,
        depths=[1, 2],
        num_heads=[1, 2],
        num_query_pool=1,
        query_stride=[2, 2],
        masked_unit_size=[4, 4],
        masked_unit_attention=[True, False],
        num_labels=5,
    ),
)
