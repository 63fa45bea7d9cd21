"""Small networks of libraries that nobody here works with: segmentation, diffusion, detection, volumes, audio, graphs.

``pip install --no-deps`` of segmentation-models-pytorch, diffusers, ultralytics, monai, vit-pytorch, x-transformers,
efficientnet_pytorch, kornia, open_clip_torch, asteroid and torch_geometric; weights are random, no file is downloaded.
Names are ``library/network``; of UNets, ViTs and YOLOs the options are the smallest that keep every kind of layer.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch

Built = tuple[Any, dict[str, Any], dict[str, dict[int, str]]]
"""The module, its inputs by name, and their dynamic axes."""

_Make = Callable[[], Built]
_Table = dict[str, tuple[tuple[int, ...], dict[str, Any]]]
"""Class -> the shape of one sample, and its options."""

_SEGMENTERS = [
    "Unet",
    "UnetPlusPlus",
    "MAnet",
    "Linknet",
    "FPN",
    "PSPNet",
    "PAN",
    "DeepLabV3",
    "DeepLabV3Plus",
    "Segformer",
    "UPerNet",
    "DPT",
]
_YOLOS = ["v8n", "11n", "11n-seg", "11n-pose", "11n-cls", "11n-obb", "v5n", "v3-tiny", "v10n", "12n", "v9t"]
_YOLO_MODELS = {"seg": "Segmentation", "pose": "Pose", "cls": "Classification", "obb": "OBB"}

_VOLUME: dict[str, Any] = {"spatial_dims": 3, "in_channels": 1, "out_channels": 2}
_IMAGE: dict[str, Any] = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2}
_UNETR: dict[str, Any] = {"in_channels": 1, "out_channels": 2, "hidden_size": 48, "mlp_dim": 96, "num_heads": 4}
_DYN: dict[str, Any] = {"kernel_size": [3] * 3, "strides": [1, 2, 2], "upsample_kernel_size": [2, 2]}
_MEDNEXT: dict[str, Any] = {"init_filters": 8, "blocks_down": (1, 1), "blocks_bottleneck": 1, "blocks_up": (1, 1)}
_TWICE = {"encoder_expansion_ratio": 2, "decoder_expansion_ratio": 2, "bottleneck_expansion_ratio": 2}
_MONAI: _Table = {
    "UNet": ((1, 32, 32, 32), {**_VOLUME, "channels": (8, 16, 32), "strides": (2, 2), "num_res_units": 2}),
    "SegResNet": ((1, 32, 32, 32), {**_VOLUME, "init_filters": 8}),
    "UNETR": ((1, 32, 32, 32), {**_UNETR, "img_size": (32, 32, 32), "feature_size": 8}),
    "DynUNet": ((1, 32, 32, 32), {**_VOLUME, **_DYN, "filters": [8, 16, 32]}),
    "AttentionUnet": ((1, 32, 32), {**_IMAGE, "channels": (8, 16, 32), "strides": (2, 2)}),
    "VNet": ((1, 32, 32, 32), _VOLUME),
    "BasicUNetPlusPlus": ((1, 32, 32), {**_IMAGE, "features": (8, 8, 16, 16, 32, 8)}),
    "HighResNet": ((1, 16, 16, 16), _VOLUME),
    "SEResNet50": ((1, 32, 32), {"spatial_dims": 2, "in_channels": 1, "num_classes": 3}),
    "FlexibleUNet": ((3, 64, 64), {**_IMAGE, "in_channels": 3, "backbone": "efficientnet-b0"}),
    "MedNeXt": ((1, 32, 32, 32), {**_VOLUME, **_MEDNEXT, **_TWICE}),
}

_VIT: dict[str, Any] = {"image_size": 32, "patch_size": 8, "dim": 32, "depth": 2, "heads": 4, "mlp_dim": 64}
_T2T: dict[str, Any] = {key: value for key, value in _VIT.items() if key != "patch_size"}
_CROSS: dict[str, Any] = {"sm_dim": 16, "sm_patch_size": 8, "sm_enc_heads": 2, "lg_dim": 32, "lg_patch_size": 16}
_CVT: dict[str, Any] = {"s1_emb_dim": 16, "s1_heads": 1, "s2_emb_dim": 32, "s2_heads": 2, "s3_emb_dim": 32}
_TWINS: dict[str, Any] = {f"s{stage}_emb_dim": 16 if stage < 3 else 32 for stage in (1, 2, 3, 4)}
_TWINS |= {
    f"s{stage}_{part}": 4 if stage < 3 else 2 for stage in (1, 2, 3, 4) for part in ("local_patch_size", "global_k")
}
_LOOK: dict[str, Any] = {"dim_head": 8, "highres_patch_size": 4, "cross_attn_heads": 4, "cross_attn_dim_head": 8}
_SCALABLE: dict[str, Any] = {"reduction_factor": (4, 2, 1, 1), "window_size": (16, None, None, None)}
_MOBILE: dict[str, Any] = {"dims": [16, 24, 32], "channels": [8, 8, 16, 16, 16, 16, 24, 24, 32, 32, 64]}
_VITS: _Table = {
    "vit.ViT": ((3, 32, 32), _VIT),
    "simple_vit.SimpleViT": ((3, 32, 32), _VIT),
    "deepvit.DeepViT": ((3, 32, 32), _VIT),
    "cait.CaiT": ((3, 32, 32), {**_VIT, "cls_depth": 1}),
    "t2t.T2TViT": ((3, 32, 32), {**_T2T, "t2t_layers": ((7, 4), (3, 2))}),
    "cct.CCT": ((3, 32, 32), {"img_size": 32, "embedding_dim": 32, "n_conv_layers": 1, "num_layers": 2, "num_heads": 4}),
    "cross_vit.CrossViT": ((3, 32, 32), {**_CROSS, "image_size": 32, "depth": 1, "lg_enc_heads": 4, "cross_attn_heads": 2}),
    "pit.PiT": ((3, 56, 56), {**_VIT, "image_size": 56, "patch_size": 14, "depth": (1, 1)}),
    "levit.LeViT": ((3, 64, 64), {"image_size": 64, "stages": 2, "dim": (32, 48), "depth": 1, "heads": (2, 4), "mlp_mult": 2}),
    "cvt.CvT": ((3, 32, 32), {**_CVT, "s3_heads": 2, "s3_depth": 1}),
    "twins_svt.TwinsSVT": ((3, 64, 64), {**_TWINS, "s3_depth": 1}),
    "max_vit.MaxViT": ((3, 64, 64), {"dim_conv_stem": 16, "dim": 16, "dim_head": 8, "depth": (1, 1), "window_size": 4}),
    "nest.NesT": ((3, 32, 32), {"image_size": 32, "patch_size": 4, "dim": 16, "heads": 2, "num_hierarchies": 2, "block_repeats": (1, 1)}),
    "mobile_vit.MobileViT": ((3, 64, 64), {"image_size": (64, 64), **_MOBILE}),
    "xcit.XCiT": ((3, 32, 32), {**_VIT, "cls_depth": 1}),
    "regionvit.RegionViT": ((3, 64, 64), {"dim": (16, 16, 32, 32), "depth": (1, 1, 1, 1), "window_size": 2}),
    "scalable_vit.ScalableViT": ((3, 64, 64), {"dim": 16, "heads": (1, 1, 2, 2), "depth": (1,) * 4, "ssa_dim_key": (8,) * 4, **_SCALABLE}),
    "parallel_vit.ViT": ((3, 32, 32), _VIT),
    "simple_vit_with_register_tokens.SimpleViT": ((3, 32, 32), _VIT),
    "simple_vit_with_qk_norm.SimpleViT": ((3, 32, 32), _VIT),
    "look_vit.LookViT": ((3, 32, 32), {"image_size": 32, "patch_size": 8, "dim": 32, "depth": 1, "heads": 4, "mlp_factor": 2, "highres_mlp_factor": 2, **_LOOK}),
}  # fmt: skip  # a table, a row a line

_ATTENTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "encoder": ("Encoder", {}),
    "decoder": ("Decoder", {}),
    "rotary": ("Decoder", {"rotary_pos_emb": True}),
    "alibi": ("Decoder", {"alibi_pos_bias": True}),
    "gated": ("Decoder", {"use_rmsnorm": True, "ff_glu": True, "ff_swish": True}),
    "macaron": ("Encoder", {"macaron": True}),
    "sandwich": ("Encoder", {"sandwich_coef": 1}),
    "position-bias": ("Encoder", {"rel_pos_bias": True}),
    "gated-values": ("Encoder", {"attn_gate_values": True}),
    "kv-groups": ("Decoder", {"attn_kv_heads": 2}),
    "qk-norm": ("Decoder", {"attn_qk_norm": True}),
    "talking-heads": ("Encoder", {"attn_pre_talking_heads": True}),
    "gated-residual": ("Encoder", {"gate_residual": True}),
    "scaled-residual": ("Encoder", {"scale_residual": True}),
    "memory": ("Encoder", {"attn_num_mem_kv": 4}),
    "squared-relu": ("Encoder", {"ff_relu_squared": True}),
    "sandwich-norm": ("Encoder", {"sandwich_norm": True}),
    "dynamic-bias": ("Encoder", {"dynamic_pos_bias": True}),
    "value-norm": ("Decoder", {"attn_qk_norm": True, "rotary_pos_emb": True, "attn_value_rmsnorm": True}),
}
_SEPARATORS: dict[str, tuple[int, dict[str, Any]]] = {
    "ConvTasNet": (400, {"bn_chan": 16, "hid_chan": 24, "skip_chan": 16, "n_blocks": 2, "n_repeats": 2}),
    "SuDORMRFNet": (800, {"bn_chan": 16, "num_blocks": 2, "upsampling_depth": 2}),
}


class Picked(torch.nn.Module):
    """A network whose output is an object: ``pick`` calls it and takes the tensor out."""

    def __init__(self, inner: Any, pick: Callable[..., Any]) -> None:
        super().__init__()
        self.inner, self.pick = inner, pick

    def forward(self, *tensors: Any) -> Any:
        return self.pick(self.inner, *tensors)


def names() -> list[str]:
    """All of them, ``library/network``."""
    return list(_networks())


def build(name: str) -> Built:
    """One of them, with random weights."""
    return _networks()[name]()


def _networks() -> dict[str, _Make]:
    found: dict[str, _Make] = {}
    for arch in _SEGMENTERS:
        found[f"segmentation/{arch}"] = _of(
            _segmenter, arch, "tu-vit_tiny_patch16_224" if arch == "DPT" else "resnet18"
        )
    found["segmentation/Unet-mit"] = _of(_segmenter, "Unet", "mit_b0")
    found["segmentation/Unet-mobileone"] = _of(_segmenter, "Unet", "mobileone_s0")
    found |= {f"diffusers/{make.__name__[1:]}": make for make in (_unet, _conditioned, _autoencoder, _dit, _sd3)}
    found |= {f"ultralytics/yolo{name}": _of(_yolo, name) for name in _YOLOS}
    for name, (shape, options) in _MONAI.items():
        found[f"monai/{name}"] = _of(_by_class, f"monai.networks.nets.{name}", shape, options)
    for name, (shape, options) in _VITS.items():
        found[f"vit-pytorch/{name}"] = _of(_by_class, f"vit_pytorch.{name}", shape, {**options, "num_classes": 5})
    found |= {f"x-transformers/{name}": _of(_attention, *row) for name, row in _ATTENTIONS.items()}
    found |= {f"kornia/{name}": _of(_descriptor, name) for name in ("HardNet", "SOSNet", "TFeat")}
    found |= {f"asteroid/{name}": _of(_separator, name, *row) for name, row in _SEPARATORS.items()}
    found |= {f"torch_geometric/{name}": _of(_graph, name) for name in ("GCN", "GAT", "GraphSAGE", "GIN")}
    found |= {"efficientnet_pytorch/b0": _efficientnet, "kornia/DISK": _disk}
    return found | {"open_clip/visual": _clip_visual, "open_clip/text": _clip_text, "open_clip/resnet": _clip_resnet}


def _of(make: Callable[..., Built], *given: Any) -> _Make:
    return lambda: make(*given)


def _images(module: Any, *shape: int) -> Built:
    return module, {"x": torch.randn(2, *shape)}, {"x": {0: "batch"}}


def _steps(module: Any, pick: Callable[..., Any], **inputs: Any) -> Built:
    return Picked(module, pick), inputs, {name: {0: "batch"} for name in inputs}


def _by_class(path: str, shape: tuple[int, ...], options: dict[str, Any]) -> Built:
    module, _, name = path.rpartition(".")
    return _images(getattr(importlib.import_module(module), name)(**options), *shape)


def _segmenter(arch: str, encoder: str) -> Built:
    import segmentation_models_pytorch as smp

    size = 224 if arch == "DPT" else 64
    return _images(getattr(smp, arch)(encoder_name=encoder, encoder_weights=None, classes=3), 3, size, size)


def _diffusers() -> Any:
    return importlib.import_module("diffusers")  # typed in part


def _unet() -> Built:
    kinds = {"down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D")}
    sizes = {"block_out_channels": (32, 64), "layers_per_block": 1, "norm_num_groups": 8, "attention_head_dim": 8}
    module = _diffusers().UNet2DModel(sample_size=16, in_channels=3, out_channels=3, **kinds, **sizes)
    given = {"x": torch.randn(2, 3, 16, 16), "t": torch.tensor([3, 5])}
    return _steps(module, lambda inner, x, t: inner(x, t, return_dict=False)[0], **given)


def _conditioned() -> Built:
    kinds = {
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }
    sizes = {"block_out_channels": (32, 64), "layers_per_block": 1, "norm_num_groups": 8, "attention_head_dim": 8}
    module = _diffusers().UNet2DConditionModel(sample_size=16, cross_attention_dim=24, **kinds, **sizes)
    given = {"x": torch.randn(2, 4, 16, 16), "t": torch.tensor([3, 5]), "c": torch.randn(2, 7, 24)}
    return _steps(module, lambda inner, x, t, c: inner(x, t, c, return_dict=False)[0], **given)


def _autoencoder() -> Built:
    kinds = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    module = _diffusers().AutoencoderKL(block_out_channels=(16, 32), norm_num_groups=8, latent_channels=4, **kinds)

    def there_and_back(inner: Any, x: Any) -> Any:
        return inner.decode(inner.encode(x).latent_dist.mode(), return_dict=False)[0]

    return _steps(module, there_and_back, x=torch.randn(2, 3, 32, 32))


def _dit() -> Built:
    sizes = {"num_attention_heads": 4, "attention_head_dim": 8, "num_layers": 2, "sample_size": 8, "patch_size": 2}
    module = _diffusers().DiTTransformer2DModel(in_channels=4, out_channels=4, num_embeds_ada_norm=10, **sizes)
    given = {"x": torch.randn(2, 4, 8, 8), "t": torch.tensor([3, 5]), "c": torch.tensor([1, 2])}
    return _steps(module, lambda inner, x, t, c: inner(x, timestep=t, class_labels=c, return_dict=False)[0], **given)


def _sd3() -> Built:
    sizes = {"num_attention_heads": 4, "attention_head_dim": 8, "num_layers": 2, "sample_size": 8, "patch_size": 2}
    widths = {"joint_attention_dim": 16, "caption_projection_dim": 32, "pooled_projection_dim": 16}
    module = _diffusers().SD3Transformer2DModel(in_channels=4, out_channels=4, pos_embed_max_size=16, **sizes, **widths)
    given = {"x": torch.randn(2, 4, 8, 8), "c": torch.randn(2, 5, 16), "p": torch.randn(2, 16)}
    pick = lambda inner, x, c, p, t: inner(x, c, p, t, return_dict=False)[0]  # noqa: E731 - it is passed on
    return _steps(module, pick, **given, t=torch.tensor([3.0, 5.0]))


def _yolo(name: str) -> Built:
    from ultralytics.nn import tasks

    kind = _YOLO_MODELS.get(name.rpartition("-")[2], "Detection")
    module = getattr(tasks, f"{kind}Model")(f"yolo{name}.yaml", verbose=False)
    for layer in module.modules():
        if hasattr(layer, "export"):  # the heads write what their exporter would
            layer.export, layer.format = True, "onnx"
    return _images(module, 3, 64, 64)


def _attention(layers: str, options: dict[str, Any]) -> Built:
    import x_transformers

    stack = getattr(x_transformers, layers)(dim=32, depth=2, heads=4, attn_dim_head=8, **options)
    module = x_transformers.TransformerWrapper(num_tokens=50, max_seq_len=16, attn_layers=stack)
    return module, {"x": torch.randint(0, 50, (2, 9))}, {"x": {0: "batch"}}


def _efficientnet() -> Built:
    from efficientnet_pytorch import EfficientNet

    module = EfficientNet.from_name("efficientnet-b0")
    module.set_swish(memory_efficient=False)
    return _images(module, 3, 64, 64)


def _descriptor(name: str) -> Built:
    from kornia import feature

    return _images(getattr(feature, name)(pretrained=False), 1, 32, 32)


def _disk() -> Built:
    from kornia.feature import DISK

    return _steps(DISK(), lambda inner, x: inner.heatmap_and_dense_descriptors(x)[0], x=torch.randn(2, 3, 32, 32))


def _clip_visual() -> Built:
    from open_clip.transformer import VisionTransformer

    return _images(VisionTransformer(32, 8, 32, 2, 4, 2.0, output_dim=16), 3, 32, 32)


def _clip_text() -> Built:
    from open_clip.transformer import TextTransformer

    module = TextTransformer(context_length=12, vocab_size=60, width=32, heads=4, layers=2, output_dim=16)
    return module, {"x": torch.randint(0, 60, (2, 12))}, {"x": {0: "batch"}}


def _clip_resnet() -> Built:
    from open_clip.modified_resnet import ModifiedResNet

    return _images(ModifiedResNet(layers=(1, 1, 1, 1), output_dim=16, heads=4, image_size=64, width=16), 3, 64, 64)


def _separator(name: str, length: int, options: dict[str, Any]) -> Built:
    from asteroid import models

    return _images(getattr(models, name)(2, n_filters=32, **options), length)


def _graph(name: str) -> Built:
    from torch_geometric import nn

    inputs = {"x": torch.randn(6, 8), "e": torch.randint(0, 6, (2, 14))}
    return getattr(nn, name)(8, 16, 3, 4), inputs, {"x": {0: "nodes"}, "e": {1: "edges"}}
