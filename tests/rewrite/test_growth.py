"""Blocks added: what they are, that the network without them is as before, and what an identity start leaves."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphprune.analysis.blocks import Join, find_joins
from graphprune.analysis.refusals import Refusal
from graphprune.errors import ModelError, NothingToPrune, OptionError
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from graphprune.rewrite import remove_blocks
from graphprune.rewrite.growth import Start, add_blocks, block_to_copy
from tests.graphs import assert_same, build, initialisers, ops, random_feeds, residual_mlp, run
from tests.small_cnns import stages

BOTH: list[Start] = ["fresh", "identity"]


def grown(proto: onnx.ModelProto, stage: int, count: int, start: Start) -> tuple[onnx.ModelProto, list[str]]:
    model = load(proto)
    result, joins = add_blocks(model, block_to_copy(find_joins(model), stage), count, start, seed=1)
    return to_proto(result), joins


@pytest.mark.parametrize("start", BOTH)
@pytest.mark.parametrize("norms", [True, False])
@pytest.mark.parametrize("stage", [0, 1])
def test_the_structure_is_that_of_a_deeper_network(stage: int, norms: bool, start: Start) -> None:
    proto = stages((2, 2), norms=norms)
    deeper, joins = grown(proto, stage, 2, start)
    onnx.checker.check_model(deeper, full_check=True)
    expected = stages((4, 2) if stage == 0 else (2, 4), norms=norms)
    assert sorted(ops(deeper)) == sorted(ops(expected))
    shapes = {name: array.shape for name, array in initialisers(deeper).items() if name.startswith("stages")}
    assert shapes == {n: array.shape for n, array in initialisers(expected).items() if n.startswith("stages")}
    blocks = {join.node: join.block for join in find_joins(load(deeper)) if join.block}
    assert [blocks[join].name for join in joins] == [f"stages.{stage}.2", f"stages.{stage}.3"]
    old = initialisers(proto)
    assert all((initialisers(deeper)[name] == old[name]).all() for name in old)


@pytest.mark.parametrize("start", BOTH)
@pytest.mark.parametrize("stage", [0, 1])
def test_without_the_blocks_it_is_what_it_was(stage: int, start: Start) -> None:
    proto = stages((2, 2), norms=True)
    deeper, joins = grown(proto, stage, 2, start)
    model, feeds = load(deeper), random_feeds(proto)
    blocks = [join.block for join in find_joins(model) if join.node in joins and join.block]
    assert len(blocks) == 2
    assert_same(run(to_proto(remove_blocks(model, blocks)), feeds), run(proto, feeds))


@pytest.mark.parametrize("norms", [True, False])
def test_identity_changes_nothing_yet(norms: bool) -> None:
    proto = stages((2, 2), norms=norms)
    feeds = random_feeds(proto)
    deeper, _ = grown(proto, 1, 3, "identity")
    assert_same(run(deeper, feeds), run(proto, feeds))
    fresh, _ = grown(proto, 1, 3, "fresh")
    assert np.abs(run(fresh, feeds)[0] - run(proto, feeds)[0]).max() > 0.01
    zeros = {name for name, array in initialisers(deeper).items() if not array.any()} - {"b_head"}
    assert len(zeros) == (9 if norms else 3)  # of each block the scale, bias and mean of the norm, or the last Conv
    assert any("conv2" in name for name in zeros) is not norms


def test_what_is_drawn_follows_from_seed_and_name() -> None:
    proto = stages((2, 2))
    one, other = (initialisers(grown(proto, 0, 2, "fresh")[0]) for _ in range(2))
    assert all((one[name] == other[name]).all() for name in one)
    assert not (one["stages.0.2.conv1.weight"] == one["stages.0.3.conv1.weight"]).any()
    assert one["stages.0.2.conv1.weight"].std() == pytest.approx((2 / 54) ** 0.5, rel=0.15)


def test_a_block_before_the_output_and_numbers_that_are_shared() -> None:
    """The output keeps its name; a scalar is read by both."""
    proto = build(
        """(float[N,4] x) => (float[N,4] y) { [f] h = MatMul(x, w) [g] a = Tanh(h) [half] b = Mul(a, s)
        [l] c = MatMul(b, v) [bias] d = Add(c, t) [join] y = Add(h, d) }""",
        {"w": (4, 4), "s": np.array(0.5, np.float32), "v": (4, 4), "t": (4,)},
    )
    deeper, (join,) = grown(proto, 0, 1, "identity")
    assert [value.name for value in deeper.graph.output] == ["y"]
    assert join == "join/grown"
    feeds = random_feeds(proto)
    assert_same(run(deeper, feeds), run(proto, feeds))
    assert sum("s" in node.input for node in deeper.graph.node) == 2
    assert {"v/grown", "t/grown"} <= initialisers(deeper).keys()
    assert not initialisers(deeper)["t/grown"].any()


def test_two_stages_one_after_the_other() -> None:
    proto = stages((2, 2))
    model = load(proto)
    joins = find_joins(model)
    for stage in (0, 1):
        model, _ = add_blocks(model, block_to_copy(joins, stage), 1, "identity", 0)
    feeds = random_feeds(proto)
    assert_same(run(to_proto(model), feeds), run(proto, feeds))
    assert sum(join.block is not None for join in find_joins(model)) == 6


def test_refuses_what_it_cannot_copy() -> None:
    with pytest.raises(OptionError, match="there is no stage 3: the network has 2"):
        grown(stages((2, 2)), 3, 1, "fresh")
    refused = Join("join", "t", None, None, Refusal("leak", "somebody else reads from it"), 0)
    with pytest.raises(NothingToPrune, match="stage 0 has no block to copy: somebody else reads from it"):
        block_to_copy([refused], 0)
    tail = build(
        "(float[N,4] x) => (float[N,4] y) { h = MatMul(x, w) a = MatMul(h, v) b = Sigmoid(a) y = Add(h, b) }",
        {"w": (4, 4), "v": (4, 4)},
    )
    with pytest.raises(ModelError, match="ends in no weights that could be zero"):
        grown(tail, 0, 1, "identity")
    assert grown(residual_mlp(2), 0, 1, "identity")[1]
