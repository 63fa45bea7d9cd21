"""Small graphs with the blocks they have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

Weights = dict[str, Sequence[int] | np.ndarray]
SAME = "pads = [1, 1, 1, 1]"


@dataclass(frozen=True)
class Case:
    """A model and its blocks as ``join: (entry, exit)``."""

    text: str
    weights: Mapping[str, Sequence[int] | np.ndarray]
    blocks: dict[str, tuple[str, str]]
    is_exact: bool = True
    context: frozenset[str] = field(default=frozenset())


def norm_weights(*names: str) -> Weights:
    return {f"{name}_{part}": (8,) for name in names for part in ("scale", "shift", "mean", "var")}


def batch_norm(x: str, y: str, name: str) -> str:
    return f"{y} = BatchNormalization({x}, {name}_scale, {name}_shift, {name}_mean, {name}_var)"


def decomposed_norm(x: str, y: str) -> str:
    """Layer normalisation the way exporters without the operator write it."""
    return f"""
      {y}m = ReduceMean<axes = [-1]>({x}) {y}d = Sub({x}, {y}m) {y}q = Pow({y}d, two)
      {y}v = ReduceMean<axes = [-1]>({y}q)
      {y}e = Add({y}v, eps) {y}s = Sqrt({y}e) {y}n = Div({y}d, {y}s) {y}g = Mul({y}n, gamma) {y} = Add({y}g, beta)"""


NORM_WEIGHTS: Weights = {"two": np.array(2, np.float32), "eps": np.array(1e-5, np.float32), "gamma": (8,), "beta": (8,)}
CNN = "(float[N,3,6,6] x) => (float[N,4] y)"
HEAD = "p = GlobalAveragePool(last) f = Flatten(p) [head] y = MatMul(f, wf)"
STEM: Weights = {"w0": (8, 3, 3, 3), "wf": (8, 4)}
ROWS = "(float[N,5,8] x) => (float[N,5,4] y)"
ROW_HEAD = "[head] y = MatMul(last, wf)"
ROW_STEM: Weights = {"w0": (8, 8), "wf": (8, 4)}
MLP: Weights = {"w1": (8, 16), "w2": (16, 8)}

REMOVABLE = {
    "resnet-v1": Case(
        f"""{CNN} {{
          c0 = Conv<{SAME}>(x, w0) {batch_norm("c0", "n0", "n0")} h = Relu(n0)
          c1 = Conv<{SAME}>(h, w1) {batch_norm("c1", "n1", "n1")} r1 = Relu(n1)
          c2 = Conv<{SAME}>(r1, w2) {batch_norm("c2", "n2", "n2")} [join] j = Add(n2, h) [tail] last = Relu(j)
          {HEAD} }}""",
        STEM | {"w1": (8, 8, 3, 3), "w2": (8, 8, 3, 3)} | norm_weights("n0", "n1", "n2"),
        {"join": ("h", "last")},
    ),
    "relu-behind-a-signed-entry-stays": Case(
        f"{CNN} {{ h = Conv<{SAME}>(x, w0) c = Conv<{SAME}>(h, w1) [join] j = Add(h, c) last = Relu(j) {HEAD} }}",
        STEM | {"w1": (8, 8, 3, 3)},
        {"join": ("h", "j")},
    ),
    "relu-that-shares-the-join-stays": Case(
        f"""{CNN} {{
          c0 = Conv<{SAME}>(x, w0) h = Relu(c0) c = Conv<{SAME}>(h, w1) [join] j = Add(h, c)
          r = Relu(j) t = Tanh(j) last = Mul(r, t) {HEAD} }}""",
        STEM | {"w1": (8, 8, 3, 3)},
        {"join": ("h", "j")},
    ),
    "pre-activation": Case(
        f"""{CNN} {{
          h = Conv<{SAME}>(x, w0)
          {batch_norm("h", "n1", "n1")} r1 = Relu(n1) c1 = Conv<{SAME}>(r1, w1) [one] j = Add(h, c1)
          {batch_norm("j", "n2", "n2")} r2 = Relu(n2) c2 = Conv<{SAME}>(r2, w2) [two] last = Add(j, c2)
          {HEAD} }}""",
        STEM | {"w1": (8, 8, 3, 3), "w2": (8, 8, 3, 3)} | norm_weights("n1", "n2"),
        {"one": ("h", "j"), "two": ("j", "last")},
    ),
    "bottleneck": Case(
        f"""{CNN} {{
          c0 = Conv<{SAME}>(x, w0) h = Relu(c0)
          a = Conv(h, w1) b = Relu(a) c = Conv<{SAME}>(b, w2) d = Relu(c) e = Conv(d, w3)
          [join] j = Add(e, h) last = Relu(j) {HEAD} }}""",
        STEM | {"w1": (2, 8, 1, 1), "w2": (2, 2, 3, 3), "w3": (8, 2, 1, 1)},
        {"join": ("h", "last")},
    ),
    "squeeze-excite": Case(
        f"""{CNN} {{
          c0 = Conv<{SAME}>(x, w0) h = Relu(c0) a = Conv<{SAME}>(h, w1)
          s = GlobalAveragePool(a) t = Conv(s, w2) u = Relu(t) v = Conv(u, w3) g = Sigmoid(v) b = Mul(a, g)
          [join] j = Add(b, h) last = Relu(j) {HEAD} }}""",
        STEM | {"w1": (8, 8, 3, 3), "w2": (2, 8, 1, 1), "w3": (8, 2, 1, 1)},
        {"join": ("h", "last")},
    ),
    "layer-scale": Case(
        f"""{CNN} {{
          h = Conv<{SAME}>(x, w0) a = Conv<{SAME}, group = 8>(h, w1) b = Conv(a, w2) t = Tanh(b) c = Conv(t, w3)
          s = Mul(c, gamma) [join] last = Add(s, h) {HEAD} }}""",
        STEM | {"w1": (8, 1, 3, 3), "w2": (16, 8, 1, 1), "w3": (8, 16, 1, 1), "gamma": (8, 1, 1)},
        {"join": ("h", "last")},
    ),
    "inverted-residual": Case(
        f"""{CNN} {{
          h = Conv<{SAME}>(x, w0) a = Conv(h, w1) b = Clip(a, zero, six)
          c = Conv<{SAME}, group = 16>(b, w2) d = Clip(c, zero, six) e = Conv(d, w3)
          [join] last = Add(h, e) {HEAD} }}""",
        STEM
        | {"w1": (16, 8, 1, 1), "w2": (16, 1, 3, 3), "w3": (8, 16, 1, 1)}
        | {"zero": np.array(0, np.float32), "six": np.array(6, np.float32)},
        {"join": ("h", "last")},
    ),
    "clip-tail": Case(
        f"""{CNN} {{
          c0 = Conv<{SAME}>(x, w0) h = Clip(c0, zero, six) c = Conv<{SAME}>(h, w1)
          [join] j = Add(h, c) last = Clip(j, zero, six) {HEAD} }}""",
        STEM | {"w1": (8, 8, 3, 3), "zero": np.array(0, np.float32), "six": np.array(0.5, np.float32)},
        {"join": ("h", "last")},
    ),
    "tighter-clip-stays": Case(
        f"""{CNN} {{
          c0 = Conv<{SAME}>(x, w0) h = Clip(c0, zero, six) c = Conv<{SAME}>(h, w1)
          [join] j = Add(h, c) last = Clip(j, zero, three) {HEAD} }}""",
        STEM
        | {"w1": (8, 8, 3, 3), "zero": np.array(0, np.float32)}
        | {"six": np.array(0.5, np.float32), "three": np.array(0.25, np.float32)},
        {"join": ("h", "j")},
    ),
    "clip-with-computed-bounds-stays": Case(
        f"""{CNN} {{
          c0 = Conv<{SAME}>(x, w0) least = ReduceMin<keepdims = 0>(x) most = ReduceMax<keepdims = 0>(x)
          lower = Mul(least, tenth) upper = Mul(most, tenth)
          h = Clip(c0, least, most) c = Conv<{SAME}>(h, w1)
          [join] j = Add(h, c) last = Clip(j, lower, upper) {HEAD} }}""",
        STEM | {"w1": (8, 8, 3, 3), "tenth": np.array(0.1, np.float32)},
        {"join": ("h", "j")},
    ),
    "relu-behind-a-clip": Case(
        f"""{CNN} {{
          c0 = Conv<{SAME}>(x, w0) h = Clip(c0, zero) c = Conv<{SAME}>(h, w1)
          [join] j = Add(h, c) last = Relu(j) {HEAD} }}""",
        STEM | {"w1": (8, 8, 3, 3), "zero": np.array(0, np.float32)},
        {"join": ("h", "last")},
    ),
    "relu-behind-a-concat": Case(
        f"""{CNN} {{
          c0 = Conv<{SAME}>(x, w0) r0 = Relu(c0) l, s0 = Split<axis = 1>(c0) r, s1 = Split<axis = 1>(r0)
          h = Concat<axis = 1>(r, l) c = Conv<{SAME}>(h, w1) [join] j = Add(h, c) last = Relu(j) {HEAD} }}""",
        STEM | {"w1": (8, 8, 3, 3)},
        {"join": ("h", "j")},
    ),
    "pre-norm": Case(
        f"""{ROWS} {{
          h = MatMul(x, w0) n = LayerNormalization(h, gamma, beta) a = MatMul(n, w1) t = Tanh(a) b = MatMul(t, w2)
          [join] last = Add(h, b) {ROW_HEAD} }}""",
        ROW_STEM | MLP | {"gamma": (8,), "beta": (8,)},
        {"join": ("h", "last")},
    ),
    "pre-norm-decomposed": Case(
        f"""{ROWS} {{
          h = MatMul(x, w0) {decomposed_norm("h", "n")} a = MatMul(n, w1) t = Tanh(a) b = MatMul(t, w2)
          [join] last = Add(h, b) {ROW_HEAD} }}""",
        ROW_STEM | MLP | NORM_WEIGHTS,
        {"join": ("h", "last")},
    ),
    "post-norm": Case(
        f"""{ROWS} {{
          s = MatMul(x, w0) h = LayerNormalization(s, gamma, beta) a = MatMul(h, w1) t = Tanh(a) b = MatMul(t, w2)
          [one] j = Add(h, b) k = LayerNormalization(j, gamma2, beta) c = MatMul(k, w1) u = Tanh(c) d = MatMul(u, w2)
          [two] l = Add(k, d) last = LayerNormalization(l, gamma, beta) {ROW_HEAD} }}""",
        ROW_STEM | MLP | {"gamma": (8,), "beta": (8,), "gamma2": (8,)},
        {"one": ("h", "k"), "two": ("k", "last")},
        is_exact=False,
    ),
    "post-norm-decomposed": Case(
        f"""{ROWS} {{
          s = MatMul(x, w0) {decomposed_norm("s", "h")} a = MatMul(h, w1) t = Tanh(a) b = MatMul(t, w2)
          [join] j = Add(b, h) {decomposed_norm("j", "last")} {ROW_HEAD} }}""",
        ROW_STEM | MLP | NORM_WEIGHTS,
        {"join": ("h", "last")},
        is_exact=False,
    ),
    "norm-behind-a-plain-entry-stays": Case(
        f"""{ROWS} {{
          h = MatMul(x, w0) a = MatMul(h, w1) t = Tanh(a) b = MatMul(t, w2)
          [join] j = Add(h, b) last = LayerNormalization(j, gamma, beta) {ROW_HEAD} }}""",
        ROW_STEM | MLP | {"gamma": (8,), "beta": (8,)},
        {"join": ("h", "j")},
    ),
    "attention-with-a-mask": Case(
        f"""(float[N,5,8] x, float[N,5,5] m) => (float[N,5,4] y) {{
          bias = Mul(m, big) h = MatMul(x, w0)
          q1 = MatMul(h, wq) k1 = MatMul(h, wk) t1 = Transpose<perm = [0, 2, 1]>(k1) s1 = MatMul(q1, t1)
          b1 = Add(s1, bias) p1 = Softmax<axis = -1>(b1) a1 = MatMul(p1, h) o1 = MatMul(a1, wo) [one] j = Add(h, o1)
          q2 = MatMul(j, wq) t2 = Transpose<perm = [0, 2, 1]>(j) s2 = MatMul(q2, t2)
          b2 = Add(s2, bias) p2 = Softmax<axis = -1>(b2) a2 = MatMul(p2, j) o2 = MatMul(a2, wv) [two] last = Add(j, o2)
          {ROW_HEAD} }}""",
        ROW_STEM | {"wq": (8, 8), "wk": (8, 8), "wo": (8, 8), "wv": (8, 8), "big": np.array(2, np.float32)},
        {"one": ("h", "j"), "two": ("j", "last")},
        context=frozenset({"bias"}),
    ),
    "mask-of-one-block": Case(
        f"""(float[N,5,8] x, float[N,5,8] m) => (float[N,5,4] y) {{
          h = MatMul(x, w0) g = Sigmoid(m) a = MatMul(h, w1) t = Tanh(a) b = MatMul(t, w2) c = Mul(b, g)
          [join] last = Add(h, c) {ROW_HEAD} }}""",
        ROW_STEM | MLP,
        {"join": ("h", "last")},
        context=frozenset({"m"}),
    ),
    "parallel-attention-and-mlp": Case(
        f"""{ROWS} {{
          h = MatMul(x, w0) n = LayerNormalization(h, gamma, beta)
          q = MatMul(n, wq) k = Transpose<perm = [0, 2, 1]>(n) s = MatMul(q, k) p = Softmax<axis = -1>(s)
          v = MatMul(p, n) a = MatMul(v, wo)
          e = MatMul(n, w1) t = Tanh(e) b = MatMul(t, w2) ab = Add(a, b) [join] last = Add(ab, h) {ROW_HEAD} }}""",
        ROW_STEM | MLP | {"wq": (8, 8), "wo": (8, 8), "gamma": (8,), "beta": (8,)},
        {"join": ("h", "last")},
    ),
    "two-blocks-that-share-weights": Case(
        f"""{ROWS} {{
          h = MatMul(x, w0) a = MatMul(h, w1) t = Tanh(a) b = MatMul(t, w2) [one] j = Add(h, b)
          c = MatMul(j, w1) u = Tanh(c) d = MatMul(u, w2) [two] last = Add(j, d) {ROW_HEAD} }}""",
        ROW_STEM | MLP,
        {"one": ("h", "j"), "two": ("j", "last")},
    ),
    "one-norm-for-two-branches": Case(
        f"""{ROWS} {{
          h = MatMul(x, w0) n = LayerNormalization(h, gamma, beta)
          q = MatMul(n, wq) k = Transpose<perm = [0, 2, 1]>(n) s = MatMul(q, k) p = Softmax<axis = -1>(s)
          v = MatMul(p, n) a = MatMul(v, wo) e = MatMul(n, w1) t = Tanh(e) b = MatMul(t, w2)
          [one] j = Add(h, a) [two] last = Add(j, b) {ROW_HEAD} }}""",
        ROW_STEM | MLP | {"wq": (8, 8), "wo": (8, 8), "gamma": (8,), "beta": (8,)},
        {"one": ("h", "j"), "two": ("j", "last")},
        context=frozenset({"n"}),
    ),
    "one-decomposed-norm-for-three-branches": Case(
        f"""{ROWS} {{
          h = MatMul(x, w0) {decomposed_norm("h", "n")} e = MatMul(n, w1) t = Tanh(e) a = MatMul(t, w2)
          f = MatMul(n, w1) u = Sin(f) b = MatMul(u, w2) c = MatMul(n, wq)
          [one] j = Add(a, h) [two] k = Add(b, j) [three] last = Add(k, c) {ROW_HEAD} }}""",
        ROW_STEM | MLP | NORM_WEIGHTS | {"wq": (8, 8)},
        {"one": ("h", "j"), "two": ("j", "k"), "three": ("k", "last")},
        context=frozenset({"n"}),
    ),
    "scaled-shortcut": Case(
        f"""{ROWS} {{
          h = MatMul(x, w0) n = LayerNormalization(h, gamma, beta) a = MatMul(n, w1) t = Tanh(a) b = MatMul(t, w2)
          s = Mul(h, scale) [join] last = Add(s, b) {ROW_HEAD} }}""",
        ROW_STEM | MLP | {"gamma": (8,), "beta": (8,), "scale": (8,)},
        {"join": ("s", "last")},
        context=frozenset({"h"}),
    ),
    "scaled-shortcut-and-branch": Case(
        f"""{ROWS} {{
          h = MatMul(x, w0) c = MatMul(h, w1) u = Tanh(c) d = MatMul(u, w2) v = Mul(scale, d) r = Div(h, two)
          [join] last = Add(v, r) {ROW_HEAD} }}""",
        ROW_STEM | MLP | {"scale": (8,), "two": np.array(2, np.float32)},
        {"join": ("r", "last")},
        context=frozenset({"h"}),
    ),
    "sum-of-three": Case(
        f"""{ROWS} {{
          h = MatMul(x, w0) n = LayerNormalization(h, gamma, beta) a = MatMul(n, w1) t = Tanh(a) b = MatMul(t, w2)
          c = MatMul(n, wq) [join] last = Sum(b, h, c) {ROW_HEAD} }}""",
        ROW_STEM | MLP | {"wq": (8, 8), "gamma": (8,), "beta": (8,)},
        {"join": ("h", "last")},
    ),
    "mean-of-two": Case(
        f"""{CNN} {{
          c0 = Conv<{SAME}>(x, w0) h = Relu(c0) c = Conv<{SAME}>(h, w1) [join] j = Mean(h, c) last = Relu(j)
          {HEAD} }}""",
        STEM | {"w1": (8, 8, 3, 3)},
        {"join": ("h", "j")},
        is_exact=False,
    ),
    "cross-attention": Case(
        f"""(float[N,5,8] x, float[N,7,8] z) => (float[N,5,4] y) {{
          states = Tanh(z) h = MatMul(x, w0) n = LayerNormalization(h, gamma, beta)
          q = MatMul(n, wq) k = MatMul(states, wk) t = Transpose<perm = [0, 2, 1]>(k) s = MatMul(q, t)
          p = Softmax<axis = -1>(s) v = MatMul(states, wv) a = MatMul(p, v) o = MatMul(a, wo)
          [join] last = Add(h, o) {ROW_HEAD} }}""",
        ROW_STEM | {name: (8, 8) for name in ("wq", "wk", "wv", "wo")} | {"gamma": (8,), "beta": (8,)},
        {"join": ("h", "last")},
        context=frozenset({"z"}),
    ),
    "if-inside-that-reads-the-entry": Case(
        f"""{ROWS} {{
          h = MatMul(x, w0) total = ReduceSum<keepdims = 0>(h) flag = Greater(total, zero)
          a = If(flag) <
            then_branch = yes () => (float[N,5,8] t) {{ t = MatMul(h, w1) }},
            else_branch = no () => (float[N,5,8] e) {{ e = Tanh(h) }}
          >
          b = MatMul(a, w2) [join] last = Add(h, b) {ROW_HEAD} }}""",
        ROW_STEM | {"w1": (8, 8), "w2": (8, 8), "zero": np.array(0, np.float32)},
        {"join": ("h", "last")},
    ),
}
