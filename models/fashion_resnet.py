"""Recipe for the shipped network: a ResNet-32 trained on Fashion-MNIST, exported to ONNX.

    apt-get install dataset-fashion-mnist      # MIT licence, Zalando SE
    pip install -e '.[torch]'
    python models/fashion_resnet.py            # half an hour on two cores with bf16 units, longer without;
    stop and start it at will

writes beside this file ``fashion_resnet32.onnx``, ``fashion_calibration.npz`` (512 unlabelled training images),
``fashion_eval.npz`` (2,000 labelled test images) and ``manifest.json``. The training state is kept in ``--work``, so an
interrupted run goes on at the last finished epoch.

The images stay as they are: grey values over 255, no mean or standard deviation taken out.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import time
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

DATASET = Path("/usr/share/datasets/fashion-mnist")
CLASSES = ["t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]
WIDTHS = (16, 32, 64)
BLOCKS_PER_STAGE = 5
CALIBRATION_IMAGES = 512
EVAL_IMAGES = 2_000
SEED = 0


class BasicBlock(nn.Module):
    """conv-bn-relu-conv-bn plus shortcut; a strided 1x1 convolution where the shape changes (He et al. 2016)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        same_shape = stride == 1 and channels_in == channels_out
        self.shortcut = nn.Identity() if same_shape else nn.Conv2d(channels_in, channels_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(branch + self.shortcut(x))


class FashionResNet(nn.Module):
    """CIFAR-style ResNet with 6n + 1 convolutions in three stages, two projections and one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, WIDTHS[0], 3, 1, 1, bias=False), nn.BatchNorm2d(WIDTHS[0]), nn.ReLU())
        stages: list[nn.Module] = []
        channels = WIDTHS[0]
        for stage, width in enumerate(WIDTHS):
            blocks: list[nn.Module] = []
            for block in range(BLOCKS_PER_STAGE):
                blocks.append(BasicBlock(channels, width, 2 if stage > 0 and block == 0 else 1))
                channels = width
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.classifier = nn.Linear(channels, len(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.stages(self.stem(x)).mean((2, 3)))
        return logits


def load_split(split: str) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 28, 28) float32 in [0, 1] and labels (N,) int64 of ``train`` or ``t10k``."""

    def read(name: str, header_bytes: int) -> np.ndarray:
        path = DATASET / f"{split}-{name}-ubyte.gz"
        if not path.is_file():
            raise SystemExit(f"{path} is missing: apt-get install dataset-fashion-mnist")
        return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=header_bytes)

    images = read("images-idx3", 16).reshape(-1, 1, 28, 28)
    return torch.from_numpy(images.astype(np.float32) / 255), torch.from_numpy(read("labels-idx1", 8).astype(np.int64))


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Pad by 2 and crop at random, flip half of the images, blank one random 8x8 patch in each."""
    count, _, height, width = images.shape
    padded = functional.pad(images, (2, 2, 2, 2))
    top, left = torch.randint(0, 5, (2, count), generator=generator)
    rows = top[:, None] + torch.arange(height)
    columns = left[:, None] + torch.arange(width)
    flip = torch.rand(count, generator=generator) < 0.5
    columns[flip] = columns[flip].flip(1)
    out = padded[torch.arange(count)[:, None, None], 0, rows[:, :, None], columns[:, None, :]]
    patch_top, patch_left = torch.randint(-3, height - 4, (2, count), generator=generator)
    pixels = torch.arange(height)
    inside_rows = (pixels >= patch_top[:, None]) & (pixels < patch_top[:, None] + 8)
    inside_columns = (pixels >= patch_left[:, None]) & (pixels < patch_left[:, None] + 8)
    out[inside_rows[:, :, None] & inside_columns[:, None, :]] = 0
    return out[:, None]


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    model.eval()
    with torch.no_grad():
        hits = sum(
            int((model(x).argmax(1) == y).sum()) for x, y in zip(images.split(500), labels.split(500), strict=True)
        )
    return hits / len(labels)


def train(model: nn.Module, epochs: int, batch: int, state_path: Path) -> None:
    """SGD with Nesterov momentum, one cosine cycle with a short warm-up, label smoothing 0.1, bf16 autocast."""
    images, labels = load_split("train")
    steps = -(-len(images) // batch)
    decay = [p for p in model.parameters() if p.ndim > 1]
    no_decay = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decay, "weight_decay": 5e-4}, {"params": no_decay, "weight_decay": 0.0}]
    optimiser = torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.2, total_steps=steps * epochs, pct_start=0.15)
    first_epoch = 0
    if state_path.is_file():
        state = torch.load(state_path, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        first_epoch = state["epoch"] + 1
    for epoch in range(first_epoch, epochs):
        generator = torch.Generator().manual_seed(SEED + epoch)
        model.train()
        started, total_loss = time.perf_counter(), 0.0
        for chosen in torch.randperm(len(images), generator=generator).split(batch):
            x = augment(images[chosen], generator).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                loss = functional.cross_entropy(model(x).float(), labels[chosen], label_smoothing=0.1)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            total_loss += float(loss.detach()) * len(chosen)
        mean_loss = total_loss / len(images)
        print(f"epoch {epoch + 1}/{epochs}  loss {mean_loss:.4f}  {time.perf_counter() - started:.0f} s", flush=True)
        partial = state_path.with_suffix(".partial")
        parts = {"model": model, "optimiser": optimiser, "schedule": schedule}
        torch.save({name: part.state_dict() for name, part in parts.items()} | {"epoch": epoch}, partial)
        partial.replace(state_path)


def export(model: nn.Module, path: Path) -> None:
    """Write opset 18 ONNX with a symbolic batch axis; exporter notes that hold file paths are dropped."""
    program = torch.onnx.export(
        model.eval(),
        (torch.zeros(2, 1, 28, 28),),
        input_names=["input"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        opset_version=18,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    proto = program.model_proto
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*proto.graph.value_info, *proto.graph.input, *proto.graph.output, *proto.graph.initializer):
        del value.metadata_props[:]
    del proto.graph.metadata_props[:]
    for key, value_text in {"task": "Fashion-MNIST classification", "recipe": "models/fashion_resnet.py"}.items():
        proto.metadata_props.add(key=key, value=value_text)
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--work", type=Path, default=Path("build/fashion_resnet"), help="folder of the training state")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder of the results")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(SEED)
    model = FashionResNet().to(memory_format=torch.channels_last)
    train(model, options.epochs, options.batch, options.work / "state.pt")
    test_images, test_labels = load_split("t10k")
    top1 = accuracy(model, test_images, test_labels)
    print(f"top-1 on the 10,000 test images: {100 * top1:.2f} %")

    model_path = options.out / "fashion_resnet32.onnx"
    export(model.to(memory_format=torch.contiguous_format), model_path)
    train_images, _ = load_split("train")
    chosen = np.random.default_rng(SEED).choice(len(train_images), CALIBRATION_IMAGES, replace=False)
    calibration_path, eval_path = options.out / "fashion_calibration.npz", options.out / "fashion_eval.npz"
    np.savez_compressed(calibration_path, input=train_images.numpy()[np.sort(chosen)])
    np.savez_compressed(eval_path, input=test_images.numpy()[:EVAL_IMAGES], labels=test_labels.numpy()[:EVAL_IMAGES])
    manifest = {
        "made_by": f"python models/fashion_resnet.py --epochs {options.epochs} --batch {options.batch}",
        "torch": torch.__version__,
        "onnx": onnx.__version__,
        "data": "Fashion-MNIST, Debian package dataset-fashion-mnist, MIT licence, Copyright 2017 Zalando SE",
        "architecture": f"ResNet-{6 * BLOCKS_PER_STAGE + 2}, widths {WIDTHS}, "
        f"{sum(isinstance(m, nn.Conv2d) for m in model.modules())} convolutions",
        "parameters": sum(p.numel() for p in model.parameters()),
        "top1_on_10000_test_images": round(top1, 4),
        "top1_on_eval_images": round(accuracy(model, test_images[:EVAL_IMAGES], test_labels[:EVAL_IMAGES]), 4),
        "preprocessing": "grey values / 255, NCHW float32",
        "classes": CLASSES,
        "sha256": {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in (model_path, calibration_path, eval_path)
        },
    }
    (options.out / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


if __name__ == "__main__":
    main()
