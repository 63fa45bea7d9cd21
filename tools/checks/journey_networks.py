"""What the users of :mod:`journeys` have: networks and data, made on the spot."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.zoo.export import export

ROOT = Path(__file__).resolve().parents[2]

_IOU = '''\
import numpy as np


def iou(batches):
    """Mean intersection over union with the labels."""
    meet, either = 0, 0
    for outputs, inputs in batches:
        found = next(iter(outputs.values())).argmax(1)
        for number in range(10):
            here, there = found == number, inputs["labels"] == number
            meet, either = meet + (here & there).sum(), either + (here | there).sum()
    return meet / either
'''


def nothing(folder: Path) -> None:
    """The script makes what it needs."""


def shipped(folder: Path) -> None:
    """The network that comes with graphprune, and its data."""
    for name in ("fashion_resnet32.onnx", "fashion_calibration.npz", "fashion_eval.npz"):
        shutil.copy(ROOT / "models" / name, folder / name)


def detector(folder: Path) -> None:
    """CSP blocks, a pyramid, heads over three levels; random weights and images."""
    _zoo(folder, "yolo")
    _samples(folder, calib=48, test=64)


def segmentation(folder: Path) -> None:
    """A U-Net whose own answers are the truth, and the script that judges by them."""
    _zoo(folder, "unet")
    _samples(folder, calib=48, test=64)
    test = dict(np.load(folder / "test.npz"))
    (answer,) = _session(folder / "unet.onnx").run(None, test)
    np.savez(folder / "test.npz", **test, labels=answer.argmax(1))
    (folder / "iou.py").write_text(_IOU)


def bert(folder: Path) -> None:
    """Six layers of BERT with a head for four classes, as transformers builds it."""
    import transformers

    torch.manual_seed(0)
    sizes = {"hidden_size": 96, "num_hidden_layers": 6, "num_attention_heads": 6, "intermediate_size": 384}
    config = transformers.BertConfig(vocab_size=1000, num_labels=4, attn_implementation="eager", **sizes)
    module = transformers.BertForSequenceClassification(config).eval()
    tokens = torch.randint(0, 1000, (2, 32))
    axes = {"input_ids": {0: "batch"}, "attention_mask": {0: "batch"}}
    _export(module, (tokens, torch.ones_like(tokens)), folder / "bert.onnx", list(axes), axes)
    generator = np.random.default_rng(0)
    for name, count in (("calib", 64), ("test", 200)):
        ids = generator.integers(0, 1000, (count, 32))
        np.savez(folder / f"{name}.npz", input_ids=ids, attention_mask=np.ones_like(ids))


def vit(folder: Path) -> None:
    """A small ViT of timm, trained for some seconds to tell four patterns, and JPEG files of them in class folders."""
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    for place, count in (("photos", 64), ("validation", 150)):
        for label in range(4):
            (folder / place / f"class{label}").mkdir(parents=True, exist_ok=True)
            for number, image in enumerate(_patterns(generator, np.full(count, label))):
                Image.fromarray(image).save(folder / place / f"class{label}" / f"{number}.jpg", quality=95)
    module = VisionTransformer(img_size=32, patch_size=8, embed_dim=96, depth=6, num_heads=4, num_classes=4)
    optimiser = torch.optim.AdamW(module.parameters(), 1e-3)
    mean, deviation = (torch.tensor(each)[:, None, None] for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    for _ in range(120):
        labels = generator.integers(0, 4, 64)
        images = torch.from_numpy(_patterns(generator, labels)).permute(0, 3, 1, 2) / 255
        loss = torch.nn.functional.cross_entropy(module((images - mean) / deviation), torch.from_numpy(labels))
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    _export(module.eval(), (torch.zeros(2, 3, 32, 32),), folder / "vit.onnx", ["x"], {"x": {0: "batch"}})


def half(folder: Path) -> None:
    """The shipped network in float16, inputs and outputs too."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    shipped(folder)
    onnx.save(convert_float_to_float16(onnx.load(folder / "fashion_resnet32.onnx")), folder / "half.onnx")
    for name, source in (("calib", "fashion_calibration"), ("test", "fashion_eval")):
        arrays = dict(np.load(folder / f"{source}.npz"))
        halves = {key: each.astype(np.float16) if each.dtype.kind == "f" else each for key, each in arrays.items()}
        np.savez(folder / f"{name}.npz", **halves)


def runs(path: Path) -> None:
    """ONNX Runtime opens a file and computes something finite on noise."""
    session = _session(path)
    generator = np.random.default_rng(0)
    feeds = {}
    for each in session.get_inputs():
        shape = [size if isinstance(size, int) else 2 for size in each.shape]
        kind = {"tensor(float)": np.float32, "tensor(float16)": np.float16}.get(each.type)
        feeds[each.name] = np.ones(shape, np.int64) if kind is None else generator.standard_normal(shape).astype(kind)
    for output in session.run(None, feeds):
        assert np.isfinite(output).all(), f"{path.name} computes no numbers"


def weight_type(path: Path) -> str:
    """The type of the largest weight of a file."""
    largest = max(onnx.load(path).graph.initializer, key=lambda each: np.prod(each.dims))
    return str(onnx.TensorProto.DataType.Name(largest.data_type)).lower()


def _zoo(folder: Path, name: str) -> None:
    path, _ = export(name, "torchscript", folder)
    path.rename(folder / f"{name}.onnx")


def _samples(folder: Path, **counts: int) -> None:
    """Noise in the shape of the one network that is in the folder."""
    (path,) = folder.glob("*.onnx")
    (image,) = _session(path).get_inputs()
    shape = [size if isinstance(size, int) else 64 for size in image.shape[1:]]
    generator = np.random.default_rng(0)
    for name, count in counts.items():
        samples = generator.standard_normal((count, *shape)).astype(np.float32)
        arrays: dict[str, Any] = {image.name: samples}
        np.savez(folder / f"{name}.npz", **arrays)


def _patterns(generator: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Stripes in four directions under noise, uint8 (n, 32, 32, 3)."""
    down, across = np.mgrid[:32, :32]
    phases = generator.uniform(0, 6, (len(labels), 1, 1))
    ways = np.stack([down, across, down + across, down - across])[labels]
    waves = 128 + 70 * np.sin(0.8 * ways + phases)
    noisy = waves[..., None] + generator.normal(0, 30, (len(labels), 32, 32, 3))
    pictures: np.ndarray = noisy.clip(0, 255).astype(np.uint8)
    return pictures


def _export(
    module: torch.nn.Module,
    example: tuple[torch.Tensor, ...],
    path: Path,
    names: list[str],
    axes: dict[str, dict[int, str]],
) -> None:
    how: dict[str, Any] = {
        "input_names": names,
        "output_names": ["logits"],
        "dynamic_axes": axes,
        "opset_version": 17,
        "dynamo": False,
    }
    torch.onnx.export(module, example, str(path), **how)


def _session(path: Path) -> ort.InferenceSession:
    return ort.InferenceSession(path, providers=["CPUExecutionProvider"])
