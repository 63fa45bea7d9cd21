"""Networks, samples and finite differences for the passes that look at networks before they are trained."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx

from tests.graphs import build, initialisers, residual_mlp


def samples(count: int = 40) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(4)
    return {"x": generator.standard_normal((count, 4)).astype(np.float32), "labels": generator.integers(0, 3, count)}


def loss(weights: dict[str, np.ndarray], data: dict[str, np.ndarray]) -> float:
    """Of ``residual_mlp(3, 5)``, in float64 by NumPy."""
    h = data["x"].astype(np.float64) @ weights["w_stem"]
    for i in range(3):
        h = h + np.tanh(h @ weights[f"a{i}"]) @ weights[f"b{i}"]
    y = h @ weights["w_head"]
    y = y - np.log(np.exp(y).sum(1, keepdims=True))
    return float(-y[np.arange(len(y)), data["labels"]].mean())


def slope(function: Callable[[dict[str, np.ndarray]], float], at: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The gradient, number by number."""
    found = {}
    for name, values in at.items():
        found[name] = np.zeros_like(values)
        for place in np.ndindex(values.shape):
            both = []
            for step in (1e-5, -1e-5):
                moved = values.copy()
                moved[place] += step
                both.append(function(at | {name: moved}))
            found[name][place] = (both[0] - both[1]) / 2e-5
    return found


def by_hand(kind: str) -> dict[str, np.ndarray]:
    """SNIP's |w g|, or w (H g): the slope of the gradient along itself."""
    weights = {name: values.astype(np.float64) for name, values in initialisers(residual_mlp(3, 5)).items()}
    data = samples()
    gradient = slope(lambda at: loss(at, data), weights)
    if kind == "snip":
        return {name: np.abs(weights[name] * gradient[name]) for name in weights}
    size, ahead, behind = 1e-3, {}, {}
    ahead = slope(lambda at: loss(at, data), {name: weights[name] + size * gradient[name] for name in weights})
    behind = slope(lambda at: loss(at, data), {name: weights[name] - size * gradient[name] for name in weights})
    return {name: weights[name] * (ahead[name] - behind[name]) / (2 * size) for name in weights}


def resnet(*, is_mixed: bool = False) -> onnx.ModelProto:
    """Three blocks of 8 channels with BatchNorm, on small maps; if ``is_mixed``, two have a depthwise Conv."""
    lines = ["[stem] h0 = Conv<pads = [1, 1, 1, 1]>(x, w0)"]
    weights: dict[str, tuple[int, ...]] = {"w0": (8, 3, 3, 3), "w_head": (8, 3)}
    for i in range(3):
        is_deep = is_mixed and i < 2
        lines += [
            f"[c{i}] p{i} = Conv<pads = [1, 1, 1, 1]>(h{i}, u{i})",
            f"[n{i}] q{i} = BatchNormalization(p{i}, s{i}, t{i}, m{i}, v{i}) [r{i}] r{i} = Relu(q{i})",
            f"[d{i}] d{i} = Conv<pads = [1, 1, 1, 1], group = 12>(r{i}, k{i})" if is_deep else "",
            f"[e{i}] o{i} = Conv<pads = [1, 1, 1, 1]>({'d' if is_deep else 'r'}{i}, g{i})",
            f"[join{i}] h{i + 1} = Add(h{i}, o{i})",
        ]
        weights |= {f"u{i}": (12, 8, 3, 3), f"g{i}": (8, 12, 3, 3)} | {f"{k}{i}": (12,) for k in "stmv"}
        weights |= {f"k{i}": (12, 1, 3, 3)} if is_deep else {}
    lines.append("[pool] g = GlobalAveragePool(h3) [flat] f = Flatten(g) [head] y = MatMul(f, w_head)")
    return build(f"(float[N,3,6,6] x) => (float[N,3] y) {{ {' '.join(lines)} }}", weights)


def images() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {"x": generator.standard_normal((24, 3, 6, 6)).astype(np.float32), "labels": np.arange(24) % 3}
