"""Small image classifiers with random weights, and images for them."""

from __future__ import annotations

import numpy as np
import onnx

from tests.graphs import build

IMAGES = np.random.default_rng(0).random((40, 3, 16, 16)).astype(np.float32)


def classifier(seed: int = 0, batch: str = "N", classes: int = 4) -> onnx.ModelProto:
    random = np.random.default_rng(seed)
    return build(
        f"""(float[{batch},3,16,16] x) => (float[{batch},{classes}] y) {{
        [c1] a = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(x, w1) [r1] b = Relu(a)
        [c2] c = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(b, w2) [r2] d = Relu(c) [flat] e = Flatten(d)
        [fc] y = Gemm(e, w3) }}""",
        {
            "w1": random.standard_normal((8, 3, 3, 3)).astype(np.float32) / 3,
            "w2": random.standard_normal((8, 8, 3, 3)).astype(np.float32) / 6,
            "w3": random.standard_normal((128, classes)).astype(np.float32),
        },
    )
