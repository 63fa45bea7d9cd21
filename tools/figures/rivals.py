"""What the rivals keep of the CIFAR-10 ResNets, from the same file and images: top-1 on test images.
Resumes from its JSON file.

    pip install onnxsim==0.8.1 torch-pruning==1.6.1
    python tools/figures/rivals.py resnet56_jpeg --json build/rivals.json

onnxsim: simplify, ``apply_structured_wanda_pruning`` and ``apply_pruning_finetune``. Torch-Pruning:
on the module of the PyTorch bridge, in 50 steps, every writer of the residual stream left whole by hand (without that
its networks did not run); ``taylor`` has labels and gradients, taken anew at every step. It has no repair: the
BatchNorm statistics are estimated again here, by hand, on the images that ``cifar_repair.py`` repairs with.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from cifar import STANDARD_MEAN, STANDARD_STD, decode, prepared, shared_folder
from cifar_widths import accuracy

from graphprune import RunOptions
from graphprune.ir.export import to_proto
from graphprune.pipeline.inspect import inspect_model
from graphprune.torch_bridge import from_torch, to_torch

REMOVED = (0.1, 0.2, 0.3, 0.5, 0.6, 0.7, 0.8)
STEPS = 50
GRADIENT_IMAGES = 256
"""With labels, for every step of Torch-Pruning's Taylor importance."""


class Images:
    """The images to prune with, and the test set."""

    def __init__(self, count: int, test_count: int) -> None:
        train, self.train_labels = decode(shared_folder() / "data" / "cifar10_train_jpeg.npz", count)
        self.train = (train - STANDARD_MEAN) / STANDARD_STD
        test = np.load(prepared() / "standard-test.npz")
        self.test, self.labels = test["images"][:test_count], test["labels"][:test_count]

    def top1(self, path: Path) -> float:
        share: float = accuracy(path, self.test, self.labels)
        return share


def macs(model: onnx.ModelProto | Path) -> int:
    """By this project's count, for all tools alike."""
    return inspect_model(model, None, RunOptions()).cost.macs


def onnxsim_rows(path: Path, images: Images) -> Iterator[dict[str, Any]]:
    """Sparsities of 0.1 to 0.8, ranked with all images, refitted with all images."""
    import onnxsim

    simple, _ = onnxsim.simplify(onnx.load(path))
    whole = macs(simple)
    name = simple.graph.input[0].name
    batches = [{name: images.train[i : i + 128]} for i in range(0, len(images.train), 128)]
    for sparsity in REMOVED:
        small = onnxsim.apply_structured_wanda_pruning(simple, calibration_data=batches, sparsity=sparsity)
        refitted = onnxsim.apply_pruning_finetune(simple, small, calibration_data=batches)
        yield {
            "tool": "onnxsim Wanda",
            "macs_removed": 1 - macs(small) / whole,
            "top1": written(small, images),
            "repaired": written(refitted, images),
        }


def written(model: onnx.ModelProto, images: Images) -> float:
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(model, Path(folder) / "small.onnx")
        return images.top1(Path(folder) / "small.onnx")


def torch_pruning_rows(path: Path, images: Images, importance: str) -> Iterator[dict[str, Any]]:
    """One iterative run; a row at the first step at or past each share."""
    for removed, small, repaired in torch_pruning_models(path, images, importance):
        row = {"top1": written(small, images), "repaired": written(repaired, images)}
        yield {"tool": f"Torch-Pruning {importance}", "macs_removed": removed} | row


def torch_pruning_models(
    path: Path, images: Images, importance: str
) -> Iterator[tuple[float, onnx.ModelProto, onnx.ModelProto]]:
    """The share of MACs gone, the network, and the same with its norms estimated again."""
    import torch
    import torch_pruning

    module = to_torch(path).eval()
    whole = macs(path)
    train, labels = torch.from_numpy(images.train), torch.from_numpy(images.train_labels)
    stream = [layer for name, layer in module.named_modules() if writes_stream(name, layer)]
    means = {
        "taylor": torch_pruning.importance.TaylorImportance,
        "magnitude": torch_pruning.importance.MagnitudeImportance,
    }
    pruner = torch_pruning.pruner.BasePruner(
        module,
        train[:1],
        importance=means[importance](),
        global_pruning=importance == "taylor",
        pruning_ratio=0.97,
        iterative_steps=STEPS,
        ignored_layers=stream,
    )
    goals = list(REMOVED)
    while goals and pruner.current_step < STEPS:
        if importance == "taylor":
            module.zero_grad()
            loss = torch.nn.functional.cross_entropy(module(train[:GRADIENT_IMAGES]), labels[:GRADIENT_IMAGES])
            torch.autograd.backward(loss)
        pruner.step()
        small = to_proto(from_torch(module, train[:2]))
        removed = 1 - macs(small) / whole
        if removed >= goals[0]:
            goals = [goal for goal in goals if goal > removed]
            kept = {key: value.clone() for key, value in module.state_dict().items()}
            estimate_again(module, train)
            repaired = to_proto(from_torch(module, train[:2]))
            module.load_state_dict(kept)
            yield removed, small, repaired


def writes_stream(name: str, layer: Any) -> bool:
    """The stem, second convolutions, shortcuts and the classifier."""
    import torch

    return isinstance(layer, torch.nn.Conv2d | torch.nn.Linear) and not (
        name.startswith("layer") and name.endswith("conv1")
    )


def estimate_again(module: Any, train: Any) -> None:
    """Means and variances of every BatchNorm, averaged over all images."""
    import torch

    norms = [layer for layer in module.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    for layer in norms:
        layer.reset_running_stats()
        layer.momentum = None  # the plain average
        layer.train()
    with torch.no_grad():
        for i in range(0, len(train), 256):
            module(train[i : i + 256])
    module.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--images", type=int, default=1024, help="to rank and repair with")
    parser.add_argument("--test", type=int, default=10_000, help="the first so many test images")
    options = parser.parse_args()
    images = Images(options.images, options.test)
    done: dict[str, list[dict[str, Any]]] = json.loads(options.json.read_text()) if options.json.exists() else {}
    for name in options.models:
        path = shared_folder() / "models" / f"{name}.onnx"
        runs = {"onnxsim": onnxsim_rows(path, images)}
        runs |= {kind: torch_pruning_rows(path, images, kind) for kind in ("magnitude", "taylor")}
        for tool, rows in runs.items():
            key = f"{name} | {tool} | {options.images} | {options.test}"
            if key in done:
                continue
            found = []
            for row in rows:
                found.append(row)
                figures = f"{100 * row['macs_removed']:.1f} | {100 * row['top1']:.2f} | {100 * row['repaired']:.2f}"
                print(f"| {name} | {row['tool']} | {figures} |", flush=True)
            done[key] = found
            options.json.write_text(json.dumps(done, indent=1))


if __name__ == "__main__":
    main()
