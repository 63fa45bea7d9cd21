"""What the user has before the first line: networks, and images to learn from and to judge by."""

import timm
import torch
from timm.models.vision_transformer import VisionTransformer

torch.manual_seed(0)
images = torch.randn(64, 3, 64, 64)
data = {"x": images.numpy()}
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, torch.randint(10, (64,))), 16)


def cnn() -> torch.nn.Module:
    """ResNet-18 for ten classes; no layer begins as zeros, which exporters may keep once for many."""
    return timm.create_model("resnet18", num_classes=10, zero_init_last=False).eval()


def vit() -> torch.nn.Module:
    """Six layers of six heads."""
    return VisionTransformer(img_size=64, patch_size=8, embed_dim=192, depth=6, num_heads=6, num_classes=10).eval()


def exported(module: torch.nn.Module, path: str) -> None:
    """The network as a file, for tools that begin with one."""
    axes = {"x": {0: "batch"}, "y": {0: "batch"}}
    torch.onnx.export(
        module, (images[:2],), path, input_names=["x"], output_names=["y"], dynamic_axes=axes, dynamo=False
    )


def accuracy(module: torch.nn.Module) -> float:
    """Share of the images that it gets right."""
    with torch.no_grad():
        return float(torch.cat([module(x).argmax(1) == y for x, y in loader]).float().mean())
