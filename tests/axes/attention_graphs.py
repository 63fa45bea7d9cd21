"""Small graphs with attention between a layer for queries, keys and values each, and one that reads the result."""

from __future__ import annotations

import numpy as np

from tests.axes.cases import Weights


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def layers(attend: str, *, more: str = "", out: str = "float[N, S, 5] y", after: str = "") -> str:
    return (
        f"(float[N, S, 4] x{more}) => ({out}) {{ [q] q = MatMul(x, wq) [k] k = MatMul(x, wk) [v] v = MatMul(x, wv) "
        f"{attend} [out] y = MatMul(h, wo) {after} }}"
    )


def widths(heads: int, depth: int, *, kv: int = 0, depth_v: int = 0, **more: tuple[int, ...]) -> Weights:
    kv, depth_v = kv or heads, depth_v or depth
    return {
        "wq": (4, heads * depth),
        "wk": (4, kv * depth),
        "wv": (4, kv * depth_v),
        "wo": (heads * depth_v, 5),
        **more,
    }


SPLIT = """q3 = Reshape(q, qs) q4 = Transpose<perm = [0, 2, 1, 3]>(q3)
    k3 = Reshape(k, ks) k4 = Transpose<perm = [0, 2, 1, 3]>(k3)
    v3 = Reshape(v, vs) v4 = Transpose<perm = [0, 2, 1, 3]>(v3) """
JOIN = " o = Transpose<perm = [0, 2, 1, 3]>(h4) h = Reshape(o, flat)"


def apart(heads: int, depth: int, kv: int = 0, depth_v: int = 0) -> dict[str, np.ndarray]:
    kv, depth_v = kv or heads, depth_v or depth
    return {
        "qs": ints(0, 0, heads, depth),
        "ks": ints(0, 0, kv, depth),
        "vs": ints(0, 0, kv, depth_v),
        "flat": ints(0, 0, -1),
    }
