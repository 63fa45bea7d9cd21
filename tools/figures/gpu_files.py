"""The files that ``tools/figures/bench_gpu.py`` times: four networks,
whole and with about 30 % of the MACs gone in three ways.

The shipped ResNet-32, a CIFAR ResNet-56 from the shared data (left out where there is none),
and a ResNet-18 and a ViT-Tiny for 224 x 224 pixels with random weights. Times hardly depend on the weights, so those of
the last two take 16 values each: packed by bz2 they need half a byte instead of four,
and all files together stay below 64 MiB.
"""

from __future__ import annotations

import bz2
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from bench_gpu import inputs

import graphprune
from graphprune import DataOptions, RecoveryOptions, RunOptions, RuntimeOptions, TimingOptions
from graphprune.data.dataset import input_specs
from graphprune.measure.alignment import multiple_for
from graphprune.runtime.sessions import open_session, run

ROOT = Path(__file__).resolve().parents[2]
LEFT = 0.7
REFERENCES = 4
"""Samples whose outputs on the CPU travel with the files, to check what the GPU computes."""


@dataclass(frozen=True)
class Network:
    """A model file; ``samples`` score its blocks, ``data`` None makes them up."""

    name: str
    path: Path
    data: Path | None
    samples: int


def networks(folder: Path, names: list[str]) -> Iterator[Network]:
    """The networks asked for; what has to be exported first goes to ``folder``."""
    from cifar import prepared, shared_folder

    if "resnet32" in names:
        yield Network("resnet32", ROOT / "models/fashion_resnet32.onnx", ROOT / "models/fashion_calibration.npz", 128)
    cifar = shared_folder() / "models" / "resnet56_jpeg.onnx"
    if "resnet56" in names and cifar.is_file():
        yield Network("resnet56", cifar, prepared() / "standard-calibration.npz", 64)
    for name in ("resnet18", "vit_tiny"):
        if name in names:
            path = folder / f"{name}.onnx"
            _export(name, path)
            yield Network(name, path, None, 8)


def specs() -> dict[str, tuple[str, int]]:
    """Name of a version -> pass and alignment; the last is what ``--align auto`` is with ``--provider cuda``."""
    auto = multiple_for(RuntimeOptions(provider="cuda"))
    return {
        "blocks": ("layer-cka{floor=1}", 1),
        "filters": ("filter-magnitude", 1),
        f"filters-align{auto}": ("filter-magnitude", auto),
    }


def prepare(folder: Path, names: list[str]) -> None:
    """Write every version of every network that is not there yet, packed, and ``manifest.json`` about them."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / "manifest.json"
    known: dict[str, Any] = json.loads(manifest.read_text()) if manifest.is_file() else {}
    with tempfile.TemporaryDirectory() as temporary:
        for network in networks(Path(temporary), names):
            versions = known.setdefault(network.name, {})
            for version, (spec, align) in {"original": ("", 1), **specs()}.items():
                if version not in versions:
                    versions[version] = _version(network, version, spec, align, folder)
                    manifest.write_text(json.dumps(known, indent=1) + "\n")
                    print(network.name, version, versions[version], flush=True)


def _version(network: Network, version: str, spec: str, align: int, folder: Path) -> dict[str, Any]:
    """Prune, compute the reference outputs, pack; what the manifest keeps of it."""
    facts: dict[str, Any] = {"file": f"{network.name}-{version}.onnx.bz2", "align": align, "pass": spec}
    path = network.path
    with tempfile.TemporaryDirectory() as temporary:
        if spec:
            path = Path(temporary) / "small.onnx"
            options = RunOptions(
                batch=min(32, network.samples),
                align=align,
                data=DataOptions(
                    samples=network.samples, shapes={"": (network.samples, 3, 224, 224)} if network.data is None else {}
                ),
                timing=TimingOptions(measure_latency=False),
                recovery=RecoveryOptions(repair=()),
            )
            result = graphprune.prune(network.path, [spec], network.data, f"flops={LEFT}", path, options=options)
            facts |= {"macs_left": result.after.macs / result.before.macs, "blocks": len(result.plan.blocks)}
        facts["inputs"] = {
            spec.name: [dim for dim in spec.dims[1:] if isinstance(dim, int)]
            for spec in input_specs(graphprune.load(path))
        }
        session = open_session(path, RuntimeOptions(threads=1))
        np.savez(folder / f"{network.name}-{version}.npz", *run(session, inputs(facts["inputs"], REFERENCES)))
        with bz2.open(folder / facts["file"], "wb") as packed:
            packed.write(path.read_bytes())
    return facts


def _export(name: str, path: Path) -> None:
    """A network of transformers, batch free, its larger weights rounded to 16 values."""
    import torch
    import transformers

    torch.manual_seed(0)
    classes: Any = transformers  # its signatures do not declare what a configuration takes
    if name == "vit_tiny":
        config = classes.ViTConfig(
            hidden_size=192,
            num_hidden_layers=12,
            num_attention_heads=3,
            intermediate_size=768,
            attn_implementation="eager",
            num_labels=1000,
        )
        model = classes.ViTForImageClassification(config)
    else:
        config = classes.ResNetConfig(
            depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 256, 512], layer_type="basic", num_labels=1000
        )
        model = classes.ResNetForImageClassification(config)

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(pixel_values=pixels).logits
            return logits

    with torch.no_grad():
        torch.onnx.export(
            Logits().eval(),
            (torch.zeros(2, 3, 224, 224),),
            path,
            input_names=["pixels"],
            output_names=["logits"],
            opset_version=18,
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            external_data=False,
            verbose=False,
        )
    proto = onnx.load(path)
    for tensor in proto.graph.initializer:
        weight = onnx.numpy_helper.to_array(tensor)
        if weight.size > 4096 and weight.dtype == np.float32:
            step = np.float32(weight.std() / 3)
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.clip(np.round(weight / step), -8, 7) * step, tensor.name))
    onnx.save(proto, path)
