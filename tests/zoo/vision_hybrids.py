"""Vision models that convolve: residual networks, convolutions beside attention, and detectors on a backbone."""

from __future__ import annotations

from typing import Any

from tests.zoo.entry import Entry
from tests.zoo.library import PIXELS, Interface, pixels

_DETECTOR: dict[str, Any] = {
    "backbone_config": {
        "model_type": "resnet",
        "embedding_size": 8,
        "hidden_sizes": [8, 16],
        "depths": [2, 2],
        "layer_type": "basic",
        "out_features": ["stage2"],
    },
    "num_queries": 5,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 40,
}

_small = Interface("ForImageClassification", pixels(32), PIXELS, "logits").entry
_large = Interface("ForImageClassification", pixels(64), PIXELS, "logits").entry
_largest = Interface("ForImageClassification", pixels(128), PIXELS, "logits").entry
_detector = Interface("ForObjectDetection", pixels(64), PIXELS, "logits").entry

ENTRIES: tuple[Entry, ...] = (
    # Bottleneck blocks; the first of each stage has a projection.
    _small(
        "hf_resnet",
        "ResNet",
        3,
        embedding_size=8,
        hidden_sizes=[16, 24],
        depths=[2, 3],
        layer_type="bottleneck",
        num_labels=5,
    ),
    # Type y: grouped convolutions, squeeze-excite, a projection per stage.
    _small(
        "hf_regnet",
        "RegNet",
        3,
        fast=True,
        embedding_size=8,
        hidden_sizes=[8, 16],
        depths=[3, 2],
        groups_width=4,
        layer_type="y",
        num_labels=5,
    ),
    # A quarter of the width: 17 layers, 10 of them with a shortcut.
    _small("hf_mobilenet_v2", "MobileNetV2", 10, fast=True, depth_multiplier=0.25, image_size=32, num_labels=5),
    # Two stages of two blocks with layer scale.
    _small(
        "hf_convnext",
        "ConvNext",
        4,
        fast=True,
        num_stages=2,
        hidden_sizes=[8, 16],
        depths=[2, 2],
        image_size=32,
        layer_scale_init_value=0.5,
        num_labels=5,
    ),
    # Global response normalisation inside the MLP instead.
    _small(
        "convnextv2", "ConvNextV2", 4, num_stages=2, hidden_sizes=[8, 16], depths=[2, 2], image_size=32, num_labels=5
    ),
    # Squeeze-excite inside inverted residuals; four of the seven layers have a shortcut.
    _small(
        "efficientnet",
        "EfficientNet",
        4,
        image_size=32,
        width_coefficient=0.25,
        depth_coefficient=1.0,
        depth_divisor=4,
        kernel_sizes=[3, 3, 5],
        in_channels=[32, 32, 48],
        out_channels=[32, 48, 64],
        strides=[1, 2, 2],
        num_block_repeats=[2, 2, 3],
        expand_ratios=[1, 4, 4],
        hidden_dim=320,
        num_labels=5,
    ),
    # An average pool minus its input mixes the tokens: a branch whose only weights are a norm and a scale.
    _small(
        "poolformer",
        "PoolFormer",
        8,
        num_encoder_blocks=2,
        depths=[2, 2],
        hidden_sizes=[16, 24],
        patch_sizes=[7, 3],
        strides=[4, 2],
        padding=[2, 1],
        mlp_ratio=2.0,
        layer_scale_init_value=0.5,
        num_labels=5,
    ),
    # Gated depthwise convolutions of growing size mix the tokens.
    _small(
        "focalnet",
        "FocalNet",
        8,
        image_size=32,
        patch_size=2,
        embed_dim=16,
        depths=[2, 2],
        focal_levels=[2, 2],
        focal_windows=[3, 3],
        mlp_ratio=1.5,
        use_layerscale=True,
        layerscale_value=0.5,
        num_labels=5,
    ),
    # Depthwise convolutions make query, key and value; a class token in the last stage only.
    _small(
        "cvt",
        "Cvt",
        6,
        embed_dim=[16, 32],
        num_heads=[2, 4],
        depth=[1, 2],
        patch_sizes=[7, 3],
        patch_stride=[4, 2],
        patch_padding=[2, 1],
        mlp_ratio=[2.0, 1.5],
        attention_drop_rate=[0.0, 0.0],
        drop_rate=[0.0, 0.0],
        drop_path_rate=[0.0, 0.0],
        qkv_bias=[True, True],
        cls_token=[False, True],
        qkv_projection_method=["dw_bn", "dw_bn"],
        kernel_qkv=[3, 3],
        padding_kv=[1, 1],
        stride_kv=[2, 2],
        padding_q=[1, 1],
        stride_q=[1, 1],
        num_labels=5,
    ),
    # Linear layers with BatchNorm, hard swish, attention biases by distance; attention that halves the image has no
    # shortcut, the MLP behind it has.
    _largest(
        "levit",
        "Levit",
        8,
        image_size=128,
        hidden_sizes=[16, 24, 32],
        num_attention_heads=[2, 3, 4],
        depths=[1, 1, 1],
        key_dim=[8, 6, 8],
        num_labels=5,
    ),
    # Inverted residuals, then transformers over unfolded patches whose output is concatenated to their input.
    _large(
        "mobilevit",
        "MobileViT",
        20,
        image_size=64,
        hidden_sizes=[16, 20, 24],
        neck_hidden_sizes=[4, 8, 12, 16, 20, 24, 32],
        expand_ratio=2.0,
        num_labels=5,
    ),
    # Linear attention over unfolded patches, channels first.
    _large(
        "mobilevitv2",
        "MobileViTV2",
        8,
        unsupported={"torchscript": "it has no col2im before opset 18"},
        image_size=64,
        width_multiplier=0.125,
        n_attn_blocks=[1, 1, 1],
        expand_ratio=2.0,
        num_labels=5,
    ),
    # Convolutional blocks, then additive attention by a mean of the queries.
    _large(
        "swiftformer",
        "SwiftFormer",
        8,
        image_size=64,
        depths=[2, 2],
        embed_dims=[16, 24],
        mlp_ratio=2,
        downsamples=[True, True],
        num_labels=5,
    ),
    # A ResNet, an encoder whose queries and keys have positions added, a decoder of learned queries.
    # Its cross-attention projects the encoder's states, and goes with that.
    _detector("detr", "Detr", 13, **_DETECTOR),
    # Positions are projected apart from the content, in the decoder's self-attention too.
    _detector("conditional_detr", "ConditionalDetr", 9, **_DETECTOR),
)
