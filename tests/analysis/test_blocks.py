"""Which joins are blocks, why the others are not, and that a block leaves without a trace."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, permutations

import numpy as np
import onnx
import pytest

from graphprune import RunOptions, TimingOptions, prune
from graphprune.analysis.blocks import Block, Join, find_joins
from graphprune.errors import GraphpruneError
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from graphprune.ir.model import Model
from graphprune.rewrite import remove_blocks
from graphprune.rewrite.removal import Removal
from graphprune.validation.masked_original import masked_original
from tests.analysis.block_cases import MLP, REMOVABLE, ROW_HEAD, ROW_STEM, ROWS, Case
from tests.analysis.refused_block_cases import REFUSED
from tests.graphs import assert_same, build, ops, random_feeds, residual_mlp, run, unused_initialisers


def case_model(case: Case) -> tuple[onnx.ModelProto, Model, dict[str, Join]]:
    proto = build(case.text, case.weights)
    onnx.checker.check_model(proto, full_check=True)
    model = load(proto)
    return proto, model, {join.node: join for join in find_joins(model)}


def case_blocks(joins: dict[str, Join]) -> dict[str, Block]:
    return {name: join.block for name, join in joins.items() if join.block is not None}


def reads(node: onnx.NodeProto) -> set[str]:
    inside = [inner for attribute in node.attribute for inner in attribute.g.node]
    return set(node.input).union(*map(reads, inside))


def still_needed(proto: onnx.ModelProto, blocks: Sequence[Block]) -> set[str]:
    """Names of the nodes the outputs need when every exit is its entry."""
    producer = {name: node for node in proto.graph.node for name in node.output}
    shortcut = {block.exit: block.entry for block in blocks}
    pending, needed = [value.name for value in proto.graph.output], set()
    while pending:
        name = pending.pop()
        while name in shortcut:
            name = shortcut[name]
        if name in producer and producer[name].name not in needed:
            needed.add(producer[name].name)
            pending += reads(producer[name])
    return needed


def assert_removal_is_exact(model: Model, blocks: Sequence[Block]) -> onnx.ModelProto:
    """The rewrite is valid, equals the masked original, and nothing of the blocks is left in it."""
    small = to_proto(remove_blocks(model, blocks))
    onnx.checker.check_model(small, full_check=True)
    feeds = random_feeds(small)
    silenced = run(masked_original(Removal(model, tuple(blocks))), feeds)
    assert_same(run(small, feeds), silenced)
    left = {node.name for node in small.graph.node}
    assert left == still_needed(to_proto(model), blocks)
    assert not left & {name for block in blocks for name in block.nodes}
    assert "Identity" not in ops(small)
    assert not unused_initialisers(small)
    whole = run(to_proto(model), feeds)
    assert any(not np.allclose(one, other, atol=1e-3) for one, other in zip(whole, silenced, strict=True))
    return small


@pytest.mark.parametrize("name", REMOVABLE)
def test_blocks_are_found(name: str) -> None:
    case = REMOVABLE[name]
    blocks = case_blocks(case_model(case)[2])
    assert {join: (block.entry, block.exit) for join, block in blocks.items()} == case.blocks
    for block in blocks.values():
        assert block.is_exact == case.is_exact
        assert set(block.context) == case.context


@pytest.mark.parametrize("name", REMOVABLE)
def test_removal_equals_the_masked_original(name: str) -> None:
    proto, model, joins = case_model(REMOVABLE[name])
    blocks = list(case_blocks(joins).values())
    for count in range(1, len(blocks) + 1):
        for chosen in combinations(blocks, count):
            small = assert_removal_is_exact(model, chosen)
            assert list(small.graph.input) == list(proto.graph.input)
            assert list(small.graph.output) == list(proto.graph.output)


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_their_rule(name: str) -> None:
    _, _, joins = case_model(REFUSED[name])
    refusal = joins["join"].refusal
    assert joins["join"].block is None
    assert refusal is not None
    assert refusal.rule == name.split(" (")[0]
    assert refusal.reason


def test_layers_are_the_weighted_nodes_of_the_branch() -> None:
    block = case_blocks(case_model(REMOVABLE["squeeze-excite"])[2])["join"]
    assert len(block.layers) == 3
    assert set(block.layers) < set(block.nodes)


def test_the_shorter_blocks_inside_a_long_skip_stay_removable() -> None:
    _, model, joins = case_model(REFUSED["contains-blocks"])
    blocks = case_blocks(joins)
    assert blocks.keys() == {"one", "two"}
    assert_removal_is_exact(model, list(blocks.values()))


def test_branches_added_in_turn_can_each_go() -> None:
    """``(x + a) + b`` with ``a`` and ``b`` both from ``x``: parallel attention and MLP in another order."""
    case = Case(
        f"""{ROWS} {{
          h = MatMul(x, w0) a1 = MatMul(h, w1) a2 = Tanh(a1) a3 = MatMul(a2, w2)
          b1 = MatMul(h, w3) b2 = Tanh(b1) b3 = MatMul(b2, w4)
          [one] j = Add(h, a3) [two] last = Add(j, b3) {ROW_HEAD} }}""",
        ROW_STEM | MLP | {"w3": (8, 16), "w4": (16, 8)},
        {},
    )
    proto, model, joins = case_model(case)
    blocks = case_blocks(joins)
    assert blocks.keys() == {"one", "two"}
    for chosen in ([blocks["one"]], [blocks["two"]], list(blocks.values())):
        assert_removal_is_exact(model, chosen)
    rows = np.random.default_rng(0).standard_normal((16, 5, 8)).astype(np.float32)
    options = RunOptions(timing=TimingOptions(measure_latency=False))
    result = prune(proto, ["layer-cka{floor=0,skip_first=false}"], rows, "removed=2", options=options)
    assert result.validation is not None
    assert result.validation.max_relative_error <= 1e-6


def test_all_subsets_of_four_blocks() -> None:
    model = load(residual_mlp(4, mask=True))
    blocks = [join.block for join in find_joins(model) if join.block]
    assert len(blocks) == 4
    for count in range(1, 5):
        for chosen in combinations(blocks, count):
            assert_removal_is_exact(model, chosen)


TWO_HEADS = Case(
    """(float[N,8] x) => (float[N,8] y, float[N,8] z) {
      h0 = Tanh(x)
      a0 = MatMul(h0, w1) b0 = Tanh(a0) c0 = MatMul(b0, w2) [one] h1 = Add(h0, c0)
      a1 = MatMul(h1, w1) b1 = Tanh(a1) c1 = MatMul(b1, w2) [two] h2 = Add(h1, c1)
      a2 = MatMul(h2, w1) b2 = Tanh(a2) c2 = MatMul(b2, w2) [three] y = Add(h2, c2)
      z = Sin(h2) }""",
    MLP,
    {},
)


@pytest.mark.parametrize("order", list(permutations(["one", "two", "three"])), ids="-".join)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_exit_that_is_an_output_keeps_its_name(order: tuple[str, ...], count: int) -> None:
    proto, model, joins = case_model(TWO_HEADS)
    blocks = case_blocks(joins)
    small = assert_removal_is_exact(model, [blocks[name] for name in order[:count]])
    assert list(small.graph.output) == list(proto.graph.output)


def test_output_behind_a_relu_tail_keeps_its_name() -> None:
    text = """(float[N,8] x) => (float[N,8] y) {
      h = Relu(x) a = MatMul(h, w1) t = Tanh(a) b = MatMul(t, w2) [join] j = Add(h, b) y = Relu(j) }"""
    _, model, joins = case_model(Case(text, MLP, {}))
    small = assert_removal_is_exact(model, list(case_blocks(joins).values()))
    assert [(node.op_type, *node.output) for node in small.graph.node] == [("Relu", "y")]


def test_output_that_takes_over_a_tensor_read_by_a_subgraph() -> None:
    """The entry becomes the output ``y``; the If that reads it must read it under that name."""
    text = """(float[N,8] x) => (float[N,8] y, float[N,8] z) {
      h = Tanh(x) a = MatMul(h, w1) t = Tanh(a) b = MatMul(t, w2) [join] y = Add(h, b)
      total = ReduceSum<keepdims = 0>(x) flag = Greater(total, zero)
      z = If(flag) <
        then_branch = yes () => (float[N,8] u) { u = Cos(h) },
        else_branch = no () => (float[N,8] v) { v = Sin(h) }
      > }"""
    _, model, joins = case_model(Case(text, MLP | {"zero": np.array(0, np.float32)}, {}))
    block = joins["join"].block
    if block is None:
        assert joins["join"].refusal is not None
        assert joins["join"].refusal.rule == "control-flow"
        return
    assert_removal_is_exact(model, [block])


def test_an_output_never_becomes_a_copy_of_an_input() -> None:
    text = """(float[N,8] x) => (float[N,8] y) {
      a0 = MatMul(x, w1) b0 = Tanh(a0) c0 = MatMul(b0, w2) [one] h1 = Add(x, c0)
      a1 = MatMul(h1, w1) b1 = Tanh(a1) c1 = MatMul(b1, w2) [two] y = Add(h1, c1) }"""
    _, model, joins = case_model(Case(text, MLP, {}))
    blocks = list(case_blocks(joins).values())
    assert len(blocks) == 2
    with pytest.raises(GraphpruneError, match="copy of x"):
        remove_blocks(model, blocks)


def test_the_given_model_is_not_changed() -> None:
    model = load(residual_mlp(2))
    before = to_proto(model).SerializeToString(deterministic=True)
    remove_blocks(model, [join.block for join in find_joins(model) if join.block])
    assert to_proto(model).SerializeToString(deterministic=True) == before


def test_sizes_decide_where_symbolic_shapes_cannot() -> None:
    """A Reshape to computed sizes hides the shape from inference; concrete sizes tell."""
    text = f"""{ROWS} {{
      h = MatMul(x, w0) a = MatMul(h, w1) t = Tanh(a) b = MatMul(t, w2) s = Shape(x) q = Cast<to = 1>(s)
      r = Mul(q, one) i = Cast<to = 7>(r) g = Reshape(b, i) [join] j = Add(g, h) last = Tanh(j) {ROW_HEAD} }}"""
    model = load(build(text, ROW_STEM | MLP | {"one": np.array(1, np.float32)}))
    shape = (2, 5, 8)
    for sizes in (None, {"h": shape, "j": (2, 5, 9)}):
        (join,) = find_joins(model, sizes)
        assert join.refusal is not None
        assert join.refusal.rule == "residual-shape"
    (join,) = find_joins(model, {"h": shape, "j": shape})
    assert join.block is not None
    assert_removal_is_exact(model, [join.block])


def test_a_mean_over_all_tokens_is_no_part_of_a_norm() -> None:
    """A hand-made norm ends each block, and the last is pooled at once."""
    norm = "m{0} = ReduceMean<axes = [-1]>({1}) {2} = Sub({1}, m{0}) "
    text = "(float[N,S,4] x) => (float[N,3] y) { " + norm.format(0, "x", "h0")
    for number in (1, 2):
        text += f"a{number} = MatMul(h{number - 1}, w) b{number} = Relu(a{number}) c{number} = MatMul(b{number}, v) "
        text += f"s{number} = Add(h{number - 1}, c{number}) " + norm.format(number, f"s{number}", f"h{number}")
    text += "p = ReduceMean<axes = [1], keepdims = 0>(h2) y = MatMul(p, head) }"
    joins = find_joins(load(build(text, {"w": (4, 8), "v": (8, 4), "head": (4, 3)})))
    assert [join.block.exit for join in joins if join.block] == ["h1", "h2"]
