"""Shortcuts narrower than what they join: without the branch the entry comes out, with zeros behind it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import onnx
import pytest

from graphprune import RecoveryOptions, RunOptions, TimingOptions, prune
from graphprune.analysis.blocks import Block, find_joins
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from graphprune.rewrite import remove_blocks
from graphprune.rewrite.removal import Removal
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.segments.runner import Segments
from graphprune.validation.masked_original import masked_original
from tests.graphs import assert_same, build, ops, random_feeds, run

SAME = "pads = [1, 1, 1, 1]"
ENDS = "(float[N,3,6,6] x) => (float[N,4] y)"
HEAD = "p = GlobalAveragePool(last) f = Flatten(p) [head] y = MatMul(f, wf)"
INTEGERS = {"at0": [0], "at2": [2], "at4": [4], "end": [2**63 - 1], "axis": [1], "four": [4, 2], "six": [6, 3]}
CONSTANTS = {name: np.array(values, np.int64) for name, values in INTEGERS.items()}

REXNET = f"""{ENDS} {{
  h = Conv<{SAME}>(x, w0)
  a0 = Conv<{SAME}>(h, w1) a1 = Tanh(a0) a2 = Conv(a1, w2)
  s = Slice(a2, at0, at4, axis) t = Slice(a2, at4, end, axis) [one] u = Add(s, h) k = Concat<axis = 1>(u, t)
  b0 = Conv<{SAME}>(k, w3) b1 = Relu(b0) b2 = Conv(b1, w4)
  v, w = Split<axis = 1>(b2, six) [two] z = Add(k, v) last = Concat<axis = -3>(z, w) {HEAD} }}"""
REXNET_WEIGHTS = {
    "w0": (4, 3, 3, 3),
    "w1": (8, 4, 3, 3),
    "w2": (6, 8, 1, 1),
    "w3": (8, 6, 3, 3),
    "w4": (9, 8, 1, 1),
    "wf": (9, 4),
}
DUAL_PATH = f"""{ENDS} {{
  h0 = Conv<{SAME}>(x, w0) h = Relu(h0)
  a0 = Conv<{SAME}>(h, w1) a1 = Tanh(a0) a2 = Conv(a1, w2) p1, d1 = Split<axis = 1>(a2, four)
  q1 = Slice(h, at0, at4, axis) e1 = Slice(h, at4, end, axis)
  [one] r1 = Add(q1, p1) g1 = Concat<axis = 1>(e1, d1) k = Concat<axis = 1>(r1, g1)
  b0 = Conv<{SAME}>(k, w3) b1 = Relu(b0) p2 = Conv(b1, w5) d2 = Conv(b1, w6)
  q2 = Slice(k, at0, at4, axis) e2 = Slice(k, at4, end, axis)
  [two] r2 = Add(p2, q2) last = Concat<axis = 1>(r2, e2, d2) {HEAD} }}"""
DUAL_PATH_WEIGHTS = {
    "w0": (6, 3, 3, 3),
    "w1": (8, 6, 3, 3),
    "w2": (6, 8, 1, 1),
    "w3": (8, 8, 3, 3),
    "w5": (4, 8, 1, 1),
    "w6": (2, 8, 1, 1),
    "wf": (10, 4),
}
NETWORKS = {"rexnet": (REXNET, REXNET_WEIGHTS), "dual path": (DUAL_PATH, DUAL_PATH_WEIGHTS)}
EXPECTED = {"one": ("h", "k"), "two": ("k", "last")}


def network(text: str, weights: Mapping[str, tuple[int, ...]]) -> onnx.ModelProto:
    return build(text, {**weights, **{name: value for name, value in CONSTANTS.items() if name in text}})


def blocks_of(proto: onnx.ModelProto) -> dict[str, Block]:
    return {join.node: join.block for join in find_joins(load(proto)) if join.block}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_subset_can_go(name: str) -> None:
    proto = network(*NETWORKS[name])
    model, blocks, feeds = load(proto), blocks_of(proto), random_feeds(proto)
    assert {join: (block.entry, block.exit) for join, block in blocks.items()} == EXPECTED
    segments = Segments.at_blocks(model, list(blocks.values()), ["y"], RuntimeOptions(threads=1))
    env = segments.run(feeds)
    assert_same([env["y"].numpy()], run(proto, feeds))
    for count in (1, 2):
        for chosen in combinations(blocks.values(), count):
            small = to_proto(remove_blocks(model, chosen))
            onnx.checker.check_model(small, full_check=True)
            silenced = run(masked_original(Removal(model, chosen)), feeds)
            assert_same(run(small, feeds), silenced)
            assert not np.allclose(run(proto, feeds)[0], silenced[0], atol=1e-3)
            assert ops(small).count("Pad") == count
            assert not {node.name for node in small.graph.node} & {name for block in chosen for name in block.nodes}
            gone = frozenset(block.join for block in chosen)
            assert_same([segments.run(feeds, gone)["y"].numpy()], silenced)
            if count == 1:
                assert_same([segments.without(env, chosen[0])["y"].numpy()], silenced)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("judge", ["", ",rescore=repaired,shortlist=2,samples=16"])
def test_a_pass_removes_and_repairs_them(name: str, judge: str) -> None:
    proto = network(*NETWORKS[name])
    images = np.random.default_rng(0).standard_normal((32, 3, 6, 6)).astype(np.float32)
    options = RunOptions(
        timing=TimingOptions(measure_latency=False), recovery=RecoveryOptions(repair=("stats", "ridge"))
    )
    result = prune(proto, [f"layer-cka{{floor=0,skip_first=false{judge}}}"], images, "removed=2", options=options)
    assert result.validation is not None
    assert result.validation.max_relative_error < 1e-5
    assert len(result.plan.blocks) == 2


@pytest.mark.parametrize(
    ("old", "new", "widened"),
    [
        ("Concat<axis = 1>(u, t)", "Concat<axis = 1>(t, u)", {"two"}),  # zeros would have to come first
        ("t = Slice(a2, at4, end, axis)", "c = Conv(x, wx) t = Slice(c, at4, end, axis)", {"two"}),
        ("last = Concat<axis = -3>(z, w)", "n = Add(w, shift) last = Concat<axis = -3>(z, n)", {"one", "two"}),
        ("at4, axis) t = Slice(a2, at4", "at4, axis) t = Slice(h, at4", {"two"}),
    ],
    ids=["in front", "a stranger", "a shift", "the entry twice"],
)
def test_which_shortcuts_are_partial(old: str, new: str, widened: set[str]) -> None:
    """What is not may still be a block of another kind, such as a sum whose other reader is no part of it."""
    text = REXNET.replace(old, new)
    weights = REXNET_WEIGHTS | {"shift": (3, 1, 1), "wx": (6, 3, 1, 1)}
    if "Slice(h, at4" in text:
        text, weights = text.replace("Slice(h, at4, end", "Slice(h, at0, at2"), weights | {"w3": (8, 6, 3, 3)}
    proto = network(text, {name: shape for name, shape in weights.items() if f"{name})" in text or f"{name}," in text})
    model, feeds = load(proto), random_feeds(proto)
    found = blocks_of(proto)
    assert {name for name, block in found.items() if block.pads} == widened
    for block in found.values():
        small = to_proto(remove_blocks(model, [block]))
        assert_same(run(small, feeds), run(masked_original(Removal(model, (block,))), feeds))


@pytest.mark.parametrize("shape", ["6", "4, 1, 6"])
def test_what_has_fewer_axes_is_no_shortcut(shape: str) -> None:
    """A sum that repeats one operand, in front of a Concat along the last axis."""
    ends = f"(float[N,4,6,6] x, float[{shape}] b) => (float[N,4,6,12] y)"
    text = ends + " { c = Tanh(b) u = Add(x, c) y = Concat<axis = 3>(u, x) }"
    (join,) = find_joins(load(build(text)))
    assert join.block is None
