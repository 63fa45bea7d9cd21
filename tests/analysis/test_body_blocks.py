"""Blocks in the bodies of If, Loop and Scan are named, with the reason why they stay."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphprune import RunOptions
from graphprune.analysis.body_blocks import blocks_in_bodies
from graphprune.ir.loading import load
from graphprune.pipeline.inspect import inspect_model
from tests.graphs import build, residual_mlp

BLOCK = "[up] a = MatMul(s, w1) b = Relu(a) [down] k = MatMul(b, w2) [join] j = Add(k, s) r = Tanh(j)"
LOOP = f"""(float[2, 4] x) => (float[2, 4] y) {{ [steps] y = Loop(three, , x) <
    body = step (int64 i, bool go, float[2, 4] s) => (bool on, float[2, 4] r) {{ on = Identity(go) {BLOCK} }}> }}"""
NESTED = f"""(float[2, 4] s, bool c, bool d) => (float[2, 4] y) {{ [outer] y = If(c) <
    then_branch = yes () => (float[2, 4] u) {{ [inner] u = If(d) <
        then_branch = deep () => (float[2, 4] r) {{ {BLOCK} }},
        else_branch = flat () => (float[2, 4] e) {{ e = Neg(s) }}> }},
    else_branch = no () => (float[2, 4] v) {{ v = Abs(s) }}> }}"""
WEIGHTS: dict[str, Sequence[int] | np.ndarray] = {"w1": (4, 8), "w2": (8, 4), "three": np.array(3)}


def test_blocks_in_bodies_at_any_depth() -> None:
    for text, holder in ((LOOP, "steps (Loop)"), (NESTED, "inner (If)")):
        (found,) = blocks_in_bodies(load(build(text, WEIGHTS)), {})
        assert (found.node, found.block, found.stage) == ("join", None, -1)
        assert found.refusal is not None
        assert (found.refusal.rule, holder in found.refusal.reason) == ("control-flow", True)


def test_only_what_would_be_a_block_is_named() -> None:
    assert blocks_in_bodies(load(build(LOOP.replace("Add(k, s)", "Add(k, k)"), WEIGHTS)), {}) == []
    assert blocks_in_bodies(load(residual_mlp(2)), {}) == []


def test_the_inspection_lists_them_last() -> None:
    rows = inspect_model(build(LOOP, WEIGHTS), None, RunOptions()).rows
    assert [(row.join, row.rule) for row in rows] == [("join", "control-flow")]
    assert rows[0].macs == 0
