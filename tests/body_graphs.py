"""Residual blocks in the bodies of If, Loop and Scan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphprune.analysis.model_analysis import ModelAnalysis, analyse
from graphprune.ir.loading import load
from graphprune.ir.model import Model
from graphprune.runtime.sessions import RuntimeOptions
from tests.graphs import Arrays, build

Weights = dict[str, Sequence[int] | np.ndarray]
WEIGHTS: Weights = {
    **{f"w1{n}": (4, 8) for n in range(3)},
    **{f"w2{n}": (8, 4) for n in range(3)},
    **{"w30": (8, 4), "w31": (4, 8), "h": (4, 3), "three": np.array(3), "scale": (4,)},
}


def block(number: int, entry: str, exit_: str) -> str:
    """Two layers with a shortcut, 64 parameters."""
    return (
        f"[up{number}] a{number} = MatMul({entry}, w1{number}) b{number} = Relu(a{number}) "
        f"[down{number}] k{number} = MatMul(b{number}, w2{number}) [join{number}] {exit_} = Add(k{number}, {entry}) "
    )


LOOP = f"""(float[n, 4] x) => (float[n, 3] y) {{ [steps] z = Loop(three, , x) <
    body = step (int64 i, bool go, float[n, 4] s) => (bool on, float[n, 4] r) {{
        on = Identity(go) {block(0, "s", "e0")} {block(1, "e0", "e1")} {block(2, "e1", "r")} }}>
    [head] y = MatMul(z, h) }}"""
IF = f"""(float[n, 4] x, bool c) => (float[n, 3] y) {{ [pick] z = If(c) <
    then_branch = yes () => (float[n, 4] u) {{ {block(0, "x", "e0")} {block(1, "e0", "u")} }},
    else_branch = no () => (float[n, 4] v) {{ {block(2, "x", "v")} }}> [head] y = MatMul(z, h) }}"""
SCAN = f"""(float[n, 4] x, float[5, n, 4] xs) => (float[5, n, 4] ys, float[n, 4] z) {{ [steps] z, ys = Scan(x, xs)
    <num_scan_inputs = 1, body = step (float[n, 4] s, float[n, 4] f) => (float[n, 4] r, float[n, 4] o) {{
        g = Add(s, f) {block(0, "g", "e0")} {block(1, "e0", "r")} o = Tanh(r) }}> }}"""
NESTED = f"""(float[n, 4] x, bool c, bool d) => (float[n, 3] y) {{ [outer] z = If(c) <
    then_branch = yes () => (float[n, 4] u) {{ {block(0, "x", "t")} e0 = Tanh(t) [inner] u = If(d) <
        then_branch = deep () => (float[n, 4] r) {{ {block(1, "e0", "r")} }},
        else_branch = flat () => (float[n, 4] f) {{ f = Neg(e0) }}> }},
    else_branch = no () => (float[n, 4] v) {{ v = Abs(x) }}> [head] y = MatMul(z, h) }}"""
NORMED = f"""(float[n, 4] x) => (float[n, 3] y) {{ [steps] z = Loop(three, , x) <
    body = step (int64 i, bool go, float[n, 4] s) => (bool on, float[n, 4] r) {{
        on = Identity(go) g = LayerNormalization(s, scale) {block(0, "g", "t0")} e0 = LayerNormalization(t0, scale)
        {block(1, "e0", "t1")} e1 = LayerNormalization(t1, scale) r = Tanh(e1) }}>
    [head] y = MatMul(z, h) }}"""
"""Post-norm: a branch of zeros does not yet leave the entry."""


def graph(text: str, weights: Weights | None = None) -> Model:
    return load(build(text, WEIGHTS | (weights or {})))


def feeds(text: str, batch: int = 2) -> Arrays:
    generator = np.random.default_rng(0)
    found: Arrays = {"x": generator.standard_normal((batch, 4)).astype(np.float32)}
    found |= {"xs": generator.standard_normal((5, batch, 4)).astype(np.float32)} if "xs" in text else {}
    return found | {name: np.array(True) for name in "cd" if f"bool {name}" in text}


def looked_at(text: str, weights: Weights | None = None) -> ModelAnalysis:
    return analyse(graph(text, weights), feeds(text), RuntimeOptions(threads=1))
