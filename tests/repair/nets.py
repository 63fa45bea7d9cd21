"""Networks for the repair: a residual one with BatchNorm, and graphs where it is easy to go wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from tests.graphs import Arrays, build

Weights = dict[str, Sequence[int] | np.ndarray]


def resnet(blocks: int = 3, width: int = 6, inner: int = 8) -> onnx.ModelProto:
    """Images (N, 3, 8, 8) -> scores (N, 4): stem, blocks ``h{i} -> h{i+1}`` of two convolutions with BatchNorm, joins
    ``join{i}`` with a Relu behind, pooling and a dense layer. Convolutions are ``a{i}``, ``b{i}``."""
    lines = ["[stem] s0 = Conv<pads = [1, 1, 1, 1]>(x, stem_w, stem_b) [stem_relu] h0 = Relu(s0)"]
    weights: Weights = {"stem_w": (width, 3, 3, 3), "stem_b": (width,), "head_w": (width, 4), "head_b": (4,)}
    for i in range(blocks):
        lines += [
            f"[a{i}] p{i} = Conv<pads = [1, 1, 1, 1]>(h{i}, a{i}_w) [na{i}] q{i} = BatchNormalization(p{i}, "
            f"{_norm('a', i)})",
            f"[ra{i}] r{i} = Relu(q{i}) [b{i}] t{i} = Conv<pads = [1, 1, 1, 1]>(r{i}, b{i}_w)",
            f"[nb{i}] u{i} = BatchNormalization(t{i}, {_norm('b', i)}) [join{i}] v{i} = Add(u{i}, h{i})",
            f"[out{i}] h{i + 1} = Relu(v{i})",
        ]
        weights |= {f"a{i}_w": (inner, width, 3, 3), f"b{i}_w": (width, inner, 3, 3)}
        for layer, size in (("a", inner), ("b", width)):
            random = np.random.default_rng(10 * i + ord(layer))
            weights[f"{layer}{i}_t"] = random.standard_normal(size).astype(np.float32) / 4
            weights[f"{layer}{i}_m"] = random.standard_normal(size).astype(np.float32) / 4
            weights |= {f"{layer}{i}_s": (size,), f"{layer}{i}_v": (size,)}
    lines += [f"[pool] g = GlobalAveragePool(h{blocks}) [flat] f = Flatten(g) [head] y = Gemm(f, head_w, head_b)"]
    return build(f"(float[N,3,8,8] x) => (float[N,4] y) {{ {' '.join(lines)} }}", weights)


def _norm(layer: str, block: int) -> str:
    return ", ".join(f"{layer}{block}_{name}" for name in "stmv")


def correlated(samples: int, seed: int = 3) -> Arrays:
    """Images whose pixels say something of their neighbours, as photographs do."""
    noise = np.random.default_rng(seed).standard_normal((samples, 3, 10, 10))
    smooth: np.ndarray = sum((noise[..., i : i + 8, j : j + 8] for i in range(3) for j in range(3)), np.zeros(())) / 3
    return {"x": np.asarray(smooth + smooth.mean(1, keepdims=True), np.float32)}


def with_weights(proto: onnx.ModelProto, changed: Arrays) -> onnx.ModelProto:
    """A copy with other values in some initialisers."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for tensor in copy.graph.initializer:
        if tensor.name in changed:
            tensor.CopyFrom(onnx.numpy_helper.from_array(changed[tensor.name], tensor.name))
    return copy
