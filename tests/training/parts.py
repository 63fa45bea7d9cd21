"""A network of a few layers and a task it can learn in seconds: which of four quadrants is bright."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx

from graphprune.data.dataset import Data, load_data
from graphprune.ir.loading import load
from graphprune.ir.model import Model
from graphprune.training import TrainOptions
from tests.graphs import build

SIDE = 16
FAST = TrainOptions(epochs=2, batch=16, lr=0.01, augment="none", device="cpu", checkpoint_seconds=1e9)


def network(width: int = 6, *, norm: bool = True, batch: int | str = "N") -> onnx.ModelProto:
    """Two convolutions, with BatchNorm or without, and a dense layer."""
    middle = "[n1] b = BatchNormalization(a, s1, t1, m1, v1) [r1] c = Relu(b)" if norm else "[r1] c = Relu(a)"
    norms: dict[str, Any] = {"s1": (width,), "t1": (width,), "m1": (width,), "v1": (width,)} if norm else {}
    return build(
        f"""(float[{batch},3,{SIDE},{SIDE}] x) => (float[{batch},4] y) {{
        [c1] a = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(x, w1, b1) {middle}
        [c2] d = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(c, w2) [r2] e = Relu(d)
        [flat] f = Flatten(e) [fc] y = Gemm<transB = 1>(f, w3, b3) }}""",
        {"w1": (width, 3, 3, 3), "b1": (width,), "w2": (8, width, 3, 3), "w3": (4, 8 * 16), "b3": (4,)} | norms,
    )


def model(width: int = 6, **kinds: Any) -> Model:
    return load(network(width, **kinds))


def samples(count: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise with one bright quadrant, and which one it is."""
    generator = np.random.default_rng(seed)
    images = generator.standard_normal((count, 3, SIDE, SIDE)).astype(np.float32)
    labels = generator.integers(0, 4, count)
    half = SIDE // 2
    for image, label in zip(images, labels, strict=True):
        top, left = half * (label // 2), half * (label % 2)
        image[:, top : top + half, left : left + half] += 0.7
    return images, labels


def data(count: int = 500, *, labelled: bool = True, seed: int = 0, of: Model | None = None) -> Data:
    images, labels = samples(count, seed)
    return load_data({"x": images} | ({"labels": labels} if labelled else {}), of or model(), None)


def options(**changes: Any) -> TrainOptions:
    return replace(FAST, **changes)


def silent(task: str, done: int, total: int, /) -> None:
    """No progress shown."""
