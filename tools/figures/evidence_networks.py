"""ResNets of three stages and any depth for ``evidence.py``, untrained and trained, and the images to train them on."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
from cifar import STANDARD_MEAN, STANDARD_STD, decode, shared_folder
from evidence_size import Size

from graphprune.data.dataset import Data, load_data
from graphprune.ir import export
from graphprune.ir.loading import load
from graphprune.ir.model import Model
from graphprune.rewrite.initialise import initialise
from graphprune.training import TrainOptions, train

sys.path.insert(0, str(Path(__file__).parents[2] / "models"))
from fashion_resnet import load_split

Split = Literal["train", "test"]
FASHION_MEAN, FASHION_STD = 0.286, 0.353
CALIBRATION_IMAGES = 512


def images(work: Path, size: Size, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Normalised images (n, channels, pixels, pixels), means of the pixels there are, and their labels."""
    path = work / f"{split}-{size.name}.npz"
    if not path.is_file():
        count = size.images if split == "train" else None
        if size.data == "Fashion-MNIST":
            whole, whole_labels = load_split("train" if split == "train" else "t10k")
            found, labels = whole.numpy()[:count], whole_labels.numpy()[:count]
            found = (found - FASHION_MEAN) / FASHION_STD
        else:
            found, labels = decode(shared_folder() / "data" / f"cifar10_{split}_jpeg.npz", count)
            found = (found - STANDARD_MEAN) / STANDARD_STD
        side = found.shape[-1] // size.pixels
        found = found.reshape(*found.shape[:2], size.pixels, side, size.pixels, side).mean((3, 5))
        np.savez(path, images=found.astype(np.float32), labels=labels)
    with np.load(path) as held:
        return held["images"], held["labels"]


def calibration(work: Path, size: Size) -> dict[str, np.ndarray]:
    """The first training images, with labels."""
    x, labels = images(work, size, "train")
    return {"input": x[:CALIBRATION_IMAGES], "labels": labels[:CALIBRATION_IMAGES]}


def untrained(blocks: Sequence[int], size: Size) -> Model:
    """A ResNet with so many blocks in each stage and 1x1 projections between them, its norms not folded."""
    import torch

    from graphprune.torch_bridge import from_torch

    channels = 1 if size.data == "Fashion-MNIST" else 3
    width = size.widths[0]
    layers = [*_convolution(channels, width, 3, 1), torch.nn.ReLU()]
    for stage, depth in enumerate(blocks):
        for block in range(depth):
            layers.append(_block(width, size.widths[stage], 2 if stage and not block else 1))
            width = size.widths[stage]
    pooled = (torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(width, 10))
    network = torch.nn.Sequential(*layers, *pooled)
    example = {"input": torch.zeros(2, channels, size.pixels, size.pixels)}
    return from_torch(network, example, output_names=("logits",), keep_norms=True)


def _convolution(before: int, after: int, kernel: int, stride: int) -> list[Any]:
    import torch

    convolution = torch.nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
    return [convolution, torch.nn.BatchNorm2d(after)]


def _block(before: int, after: int, stride: int) -> Any:
    import torch

    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            first, second = _convolution(before, after, 3, stride), _convolution(after, after, 3, 1)
            self.branch = torch.nn.Sequential(*first, torch.nn.ReLU(), *second)
            same = stride == 1 and before == after
            self.shortcut = torch.nn.Identity() if same else torch.nn.Conv2d(before, after, 1, stride)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.branch(x) + self.shortcut(x))

    return Block()


def fresh(blocks: Sequence[int], seed: int, size: Size, work: Path) -> Path:
    """A file of such a network with weights drawn anew; made if need be."""
    path = work / f"fresh-{'-'.join(map(str, blocks))}-{size.name}-seed{seed}.onnx"
    if not path.is_file():
        export.write(initialise(untrained(blocks, size), seed).model, path)
    return path


def dense(blocks: Sequence[int], seed: int, size: Size, work: Path) -> Path:
    """A file of such a network trained; made if need be."""
    path = work / f"dense-{'-'.join(map(str, blocks))}-{size.name}-seed{seed}.onnx"
    if not path.is_file():
        model = load(fresh(blocks, seed, size, work))
        export.write(trained(model, size, size.training(seed), work), path)
    return path


def trained(model: Model, size: Size, options: str, work: Path, share: float = 1.0) -> Model:
    """``model`` after a training with labels on this share of the training images."""
    better, _, _ = train(model, training_data(model, size, work, share), TrainOptions.parse(options), lambda *_: None)
    return better


def training_data(model: Model, size: Size, work: Path, share: float = 1.0) -> Data:
    x, labels = images(work, size, "train")
    count = round(share * len(x))
    return load_data({"input": x[:count], "labels": labels[:count]}, model, None)


def top1(model: Model | Path, size: Size, work: Path) -> float:
    """Of all test images."""
    proto = onnx.load(model) if isinstance(model, Path) else export.to_proto(model)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    x, labels = images(work, size, "test")
    found = [session.run(["logits"], {"input": part})[0].argmax(1) for part in np.array_split(x, 40)]
    return float((np.concatenate(found) == labels).mean())
