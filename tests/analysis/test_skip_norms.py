"""Joins that are fused with the norm behind them: in a pre-norm network the norm stays, in a post-norm one it goes."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from graphprune import RecoveryOptions, RunOptions, TimingOptions, prune
from graphprune.analysis.blocks import Block
from graphprune.analysis.model_analysis import analyse
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from graphprune.rewrite import remove_blocks
from graphprune.rewrite.removal import Removal
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.segments.runner import Segments
from graphprune.validation.masked_original import masked_original
from tests.graphs import assert_same, random_feeds, random_weight, run

WIDTH, INNER = 8, 16
NORMS = {
    "SkipLayerNormalization": "LayerNormalization",
    "SkipSimplifiedLayerNormalization": "SimplifiedLayerNormalization",
}


def network(op: str, *, is_post: bool = False, has_bias: bool = False, layers: int = 3) -> onnx.ModelProto:
    """``layers`` MLPs whose joins are ``join0`` ...; the branch is the first operand of every second one."""
    is_full = op == "SkipLayerNormalization"
    weights = {"w0": (6, WIDTH), "head": (WIDTH, 4), "gamma": (WIDTH,), "shift": (WIDTH,)}
    nodes = [helper.make_node("MatMul", ["x", "w0"], ["s0"], name="stem")]
    first = ["s0", "s0", "gamma", *(["shift"] if is_full else [])]
    nodes.append(helper.make_node(op, first, ["n0"], name="first", domain="com.microsoft", epsilon=1e-3))
    for i in range(layers):
        weights |= {f"a{i}": (WIDTH, INNER), f"b{i}": (INNER, WIDTH), f"bias{i}": (WIDTH,)}
        stream = f"n{i}" if is_post else f"s{i}"
        nodes += [
            helper.make_node("MatMul", [f"n{i}", f"a{i}"], [f"p{i}"], name=f"up{i}"),
            helper.make_node("Tanh", [f"p{i}"], [f"q{i}"], name=f"act{i}"),
            helper.make_node("MatMul", [f"q{i}", f"b{i}"], [f"r{i}"], name=f"down{i}"),
        ]
        operands = [f"r{i}", stream] if i % 2 else [stream, f"r{i}"]
        operands += ["gamma", *(["shift"] if is_full else []), *([f"bias{i}"] if has_bias else [])]
        is_last = i == layers - 1
        outputs = [f"n{i + 1}"] + ([] if is_post or is_last else ["", "", f"s{i + 1}"])
        nodes.append(helper.make_node(op, operands, outputs, name=f"join{i}", domain="com.microsoft", epsilon=1e-3))
    nodes.append(helper.make_node("MatMul", [f"n{layers}", "head"], ["y"], name="last"))
    graph = helper.make_graph(
        nodes,
        "fused",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 5, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5, 4])],
        [onnx.numpy_helper.from_array(random_weight(name, shape), name) for name, shape in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def blocks_of(proto: onnx.ModelProto) -> list[Block]:
    joins = analyse(load(proto), random_feeds(proto), RuntimeOptions(threads=1)).joins
    return [join.block for join in joins if join.block]


@pytest.mark.parametrize("op", NORMS)
@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("is_post", [False, True])
def test_every_subset_can_go(op: str, has_bias: bool, is_post: bool) -> None:
    proto = network(op, is_post=is_post, has_bias=has_bias)
    model, blocks = load(proto), blocks_of(proto)
    assert [block.join for block in blocks] == ["join0", "join1", "join2"]
    assert {block.keeps_join for block in blocks} == {not is_post}
    feeds = random_feeds(proto)
    whole = run(proto, feeds)
    for count in (1, 2, 3):
        for chosen in combinations(blocks, count):
            small = to_proto(remove_blocks(model, chosen))
            onnx.checker.check_model(small, full_check=True)
            silenced = run(masked_original(Removal(model, chosen)), feeds)
            assert_same(run(small, feeds), silenced)
            assert not np.allclose(whole[0], silenced[0], atol=1e-3)
            left = {node.name for node in small.graph.node}
            assert not left & {name for block in chosen for name in block.nodes}
            joins = {node.name: node for node in small.graph.node if node.op_type == op}
            assert joins.keys() >= {block.join for block in blocks if block not in chosen}
            for join in joins.keys() & {block.join for block in chosen}:  # a norm that nobody reads any more is gone
                assert not is_post
                assert len(joins[join].output) == 1


@pytest.mark.parametrize("op", NORMS)
@pytest.mark.parametrize("is_post", [False, True])
def test_scoring_without_a_block_is_running_without_it(op: str, is_post: bool) -> None:
    proto = network(op, is_post=is_post)
    model, blocks = load(proto), blocks_of(proto)
    feeds = random_feeds(proto)
    segments = Segments.at_blocks(model, blocks, ["y"], RuntimeOptions(threads=1))
    env = segments.run(feeds)
    for block in blocks:
        expected = run(to_proto(remove_blocks(model, [block])), feeds)
        assert_same([segments.without(env, block)["y"].numpy()], expected)
        gone = frozenset({block.join})
        assert_same([segments.run(feeds, gone)["y"].numpy()], expected)
        for other in (each for each in blocks if each is not block):
            both = run(to_proto(remove_blocks(model, [block, other])), feeds)
            assert_same([segments.without(segments.run(feeds, gone), other, gone)["y"].numpy()], both)


@pytest.mark.parametrize("op", NORMS)
@pytest.mark.parametrize("is_post", [False, True])
def test_a_pass_removes_and_repairs_them(op: str, is_post: bool) -> None:
    proto = network(op, is_post=is_post, has_bias=True)
    rows = np.random.default_rng(0).standard_normal((32, 5, 6)).astype(np.float32)
    options = RunOptions(
        timing=TimingOptions(measure_latency=False), recovery=RecoveryOptions(repair=("stats", "ridge"))
    )
    result = prune(proto, ["layer-cka{floor=0,skip_first=false}"], rows, "removed=2", options=options)
    assert result.validation is not None
    assert result.validation.max_relative_error < 1e-5
    assert len(result.plan.blocks) == 2
    assert result.repair is not None
