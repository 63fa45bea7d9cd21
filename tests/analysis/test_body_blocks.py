"""Blocks in bodies are found as elsewhere; a body may give what it is given."""

from __future__ import annotations

from graphprune import RunOptions
from graphprune.analysis.blocks import Join
from graphprune.analysis.body_blocks import joins_in_bodies
from graphprune.analysis.cost import part_cost
from graphprune.analysis.model_analysis import analyse
from graphprune.analysis.representation import find_representations
from graphprune.ir.bodies import graphs_of
from graphprune.ir.loading import load
from graphprune.pipeline.inspect import inspect_model
from graphprune.runtime.sessions import RuntimeOptions
from tests.body_graphs import IF, LOOP, NESTED, SCAN, WEIGHTS, block, feeds, graph, looked_at
from tests.graphs import build, residual_mlp


def names(joins: list[Join]) -> list[tuple[str, int]]:
    return [(join.name, join.stage) for join in joins if join.block]


def test_each_body_is_a_graph_of_its_own() -> None:
    assert names(looked_at(LOOP).body_joins) == [("join0", 0), ("join1", 0), ("join2", 0)]
    assert names(looked_at(IF).body_joins) == [("join0", 0), ("join1", 0), ("join2", 1)]
    assert names(looked_at(SCAN).body_joins) == [("join0", 0), ("join1", 0)]
    assert names(looked_at(NESTED).body_joins) == [("join0", 0), ("join1", 1)]
    assert looked_at(LOOP).joins == []


def test_a_block_begins_and_ends_at_the_border() -> None:
    first, _, last = (join.block for join in looked_at(LOOP).body_joins)
    assert first is not None and last is not None
    assert (first.entry, last.exit) == ("s", "r")


def test_only_what_lies_on_the_stream_is_named() -> None:
    assert looked_at(LOOP.replace("Add(k1, e0)", "Add(k1, k1)")).all_joins[1].node == "join2"
    assert joins_in_bodies(load(residual_mlp(2)), {}, []) == []


WITHIN = f"""(float[n, 4] x) => (float[n, 3] y) {{ [up] a = MatMul(x, w10) [steps] b = Loop(three, , a) <
    body = step (int64 i, bool go, float[n, 8] s) => (bool on, float[n, 8] r) {{
        on = Identity(go) [upin] p = MatMul(s, w30) [downin] q = MatMul(p, w31) [joinin] r = Add(q, s) }}>
    [down] d = MatMul(b, w20) [join] z = Add(d, x) {block(1, "z", "v")} [head] y = MatMul(v, h) }}"""


def test_of_a_block_that_goes_as_a_whole_nothing_goes_by_itself() -> None:
    (inner,) = looked_at(WITHIN).body_joins
    assert inner.refusal is not None
    assert inner.refusal.reason == "it lies in a body in join, which goes as a whole"


def test_no_two_blocks_share_a_name() -> None:
    """Both branches read the weights of one module."""
    proto = build(IF.replace("w12", "w10").replace("w22", "w20"), WEIGHTS)
    new = {"w10": "m.up.weight", "w20": "m.down.weight"}
    for tensor in proto.graph.initializer:
        tensor.name = new.get(tensor.name, tensor.name)
    for node in (node for scope in graphs_of(proto.graph) for node in scope.node):
        node.input[:] = [new.get(name, name) for name in node.input]
    joins = analyse(load(proto), feeds(IF), RuntimeOptions(threads=1)).body_joins
    assert [join.name for join in joins] == ["m", "join1", "m#join2"]


def test_a_block_costs_what_its_nodes_cost() -> None:
    analysis = looked_at(LOOP)
    found = [join.block for join in analysis.body_joins if join.block]
    costs = [part_cost(analysis.model, block.nodes, analysis.sizes) for block in found]
    assert [(cost.macs, cost.params) for cost in costs] == [(2 * 64, 64)] * 3


def test_the_layer_in_a_body_is_a_layer() -> None:
    """What is compared lies behind the loop, or the loop would not count."""
    text = LOOP.replace("[head] y = MatMul(z, h)", "y = Relu(z)").replace("float[n, 3] y", "float[n, 4] y")
    text = text.replace("[steps] z = Loop(three, , x)", "[stem] q = MatMul(x, stem_w) [steps] z = Loop(three, , q)")
    assert [each.tensor for each in find_representations(graph(text, {"stem_w": (4, 4)}), [])] == ["y"]


def test_the_inspection_lists_them_last() -> None:
    rows = inspect_model(graph(LOOP).source, None, RunOptions()).rows
    assert [(row.join, row.rule, row.params) for row in rows] == [(f"join{n}", "", 64) for n in range(3)]
