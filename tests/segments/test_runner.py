"""Running only what follows a block says the same as running the rewritten model."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import onnx
import pytest

from graphprune.analysis.blocks import Block, find_joins
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from graphprune.ir.model import Model
from graphprune.rewrite import remove_blocks
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.segments.partition import Segment
from graphprune.segments.runner import Environment, Segments, SessionChain
from tests.graphs import Arrays, assert_same, random_feeds, residual_mlp, run

OPTIONS = RuntimeOptions(threads=1)
TARGETS = ["h6", "y"]


def prepared(proto: onnx.ModelProto) -> tuple[Model, list[Block], Segments]:
    model = load(proto)
    blocks = [join.block for join in find_joins(model) if join.block]
    assert len(blocks) == 6
    return model, blocks, Segments.at_blocks(model, blocks, TARGETS, OPTIONS)


def numbers(env: Environment) -> list[np.ndarray]:
    return [env[name].numpy() for name in TARGETS]


def rewritten(model: Model, gone: list[Block], feeds: Arrays) -> list[np.ndarray]:
    """The targets of the model without ``gone``; where the last block goes, ``h6`` is what the head reads."""
    proto = to_proto(remove_blocks(model, gone))
    (head,) = (node for node in proto.graph.node if node.name == "head")
    proto.graph.output.append(onnx.helper.make_tensor_value_info(head.input[0], onnx.TensorProto.FLOAT, None))
    return run(proto, feeds, [head.input[0], "y"])


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("batch", [1, 5])
def test_whole_network(mask: bool, batch: int) -> None:
    proto = residual_mlp(6, mask=mask)
    model, _, segments = prepared(proto)
    feeds = random_feeds(proto, batch)
    assert_same(numbers(segments.run(feeds)), rewritten(model, [], feeds))


@pytest.mark.parametrize("mask", [False, True])
def test_one_block_out(mask: bool) -> None:
    proto = residual_mlp(6, mask=mask)
    model, blocks, segments = prepared(proto)
    for batch in (3, 4):
        feeds = random_feeds(proto, batch)
        env = segments.run(feeds)
        for block in blocks:
            assert_same(numbers(segments.without(env, block)), rewritten(model, [block], feeds))


@pytest.mark.parametrize("mask", [False, True])
def test_two_blocks_out(mask: bool) -> None:
    proto = residual_mlp(6, mask=mask)
    model, blocks, segments = prepared(proto)
    feeds = random_feeds(proto, 3)
    for first in blocks:
        removed = frozenset({first.join})
        env = segments.run(feeds, removed)
        assert_same(numbers(env), rewritten(model, [first], feeds))
        for second in blocks:
            if second is not first:
                expected = rewritten(model, [first, second], feeds)
                assert_same(numbers(segments.without(env, second, removed)), expected)


def test_five_blocks_out() -> None:
    proto = residual_mlp(6)
    model, blocks, segments = prepared(proto)
    feeds = random_feeds(proto, 3)
    for gone in combinations(blocks, 5):
        removed = frozenset(block.join for block in gone[1:])
        env = segments.run(feeds, removed)
        assert_same(numbers(segments.without(env, gone[0], removed)), rewritten(model, list(gone), feeds))


def test_environment_is_not_changed() -> None:
    proto = residual_mlp(6)
    _, blocks, segments = prepared(proto)
    env = segments.run(random_feeds(proto))
    before = {name: value.numpy().copy() for name, value in env.items()}
    for block in blocks:
        segments.without(env, block)
    assert env.keys() == before.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(env[name].numpy(), value)


@pytest.mark.parametrize("mask", [False, True])
def test_only_what_follows_the_block_runs(mask: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    proto = residual_mlp(6, mask=mask)
    _, blocks, segments = prepared(proto)
    ran: list[Segment] = []
    original = SessionChain.run_segment

    def counted(self: SessionChain, index: int, env: Environment) -> tuple[Environment, float]:
        ran.append(self.segments[index])
        return original(self, index, env)

    monkeypatch.setattr(SessionChain, "run_segment", counted)
    env = segments.run(random_feeds(proto))
    assert [segment.block for segment in ran] == [None, *blocks, None]
    for position, block in enumerate(blocks):
        ran.clear()
        segments.without(env, block)
        assert [segment.block for segment in ran] == [*blocks[position + 1 :], None]
        assert ran[-1].nodes == ("head",)
    ran.clear()
    removed = frozenset({blocks[4].join})
    env = segments.run(random_feeds(proto), removed)
    ran.clear()
    segments.without(env, blocks[2], removed)
    assert [segment.block for segment in ran] == [blocks[3], blocks[5], None]


def test_suffix_seconds_fall_from_first_to_last_block() -> None:
    proto = residual_mlp(6)
    _, blocks, segments = prepared(proto)
    segments.run(random_feeds(proto))
    seconds = [segments.suffix_seconds(block) for block in blocks]
    assert seconds == sorted(seconds, reverse=True)
    assert seconds[-1] > 0


def test_sessions_that_wait_hold_no_memory() -> None:
    """A network has as many as blocks: each would keep what the largest batch took."""
    _, _, segments = prepared(residual_mlp(6))
    for session in segments.chain.open():
        assert session is None or not session.get_session_options().enable_cpu_mem_arena


def test_a_tensor_is_known_by_its_last_reader() -> None:
    _, blocks, segments = prepared(residual_mlp(6, mask=True))
    chain = segments.chain
    places = {segment.block.join: index for index, segment in enumerate(chain.segments) if segment.block is not None}
    assert [chain.last_reader[block.entry] for block in blocks] == [places[block.join] for block in blocks]
    assert chain.last_reader["g"] == places[blocks[-1].join]
    assert "y" not in chain.last_reader
