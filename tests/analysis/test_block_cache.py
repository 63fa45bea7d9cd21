"""What leaves the cache with a block, and that one layer keeps its own."""

from __future__ import annotations

import onnx

from graphprune.analysis.stages import allowance
from graphprune.ir.export import to_proto
from graphprune.rewrite import remove_blocks
from tests.decoder_graphs import Sizes, fused_decoder, plain_decoder
from tests.decoder_steps import looked_at


def _refusals(proto: onnx.ModelProto) -> dict[str, str]:
    return {join.output: join.refusal.reason for join in looked_at(proto).joins if join.refusal}


def test_rules_leave_one_layer_its_cache() -> None:
    analysis = looked_at(fused_decoder())
    rules = allowance(analysis.model, analysis.joins, None, None)
    gone = rules.most(frozenset(), {block.join: 1 for block in rules.candidates})
    assert (len(rules.candidates), len(gone), sum(bool(block.cache) for block in gone)) == (6, 5, 2)
    assert rules.rules == "the rule that one layer keeps its cache"

    attentions = [join.block for join in analysis.joins if join.block and join.block.cache]
    left = looked_at(to_proto(remove_blocks(analysis.model, attentions[:2])))
    assert not any(block.cache for block in allowance(left.model, left.joins, None, None).candidates)


def test_keys_that_two_layers_read_are_no_ones_own() -> None:
    proto = plain_decoder(Sizes(layers=2))
    reader = next(node for node in proto.graph.node if node.output[0] == "present.1.key")
    reader.input[0] = "past_key_values.0.key"
    reasons = _refusals(proto)
    assert "past_key_values.0.key" in reasons["middle0"]
    assert "middle1" in reasons


def test_a_present_that_others_read_stays() -> None:
    proto = plain_decoder(Sizes(layers=2))
    unsqueezed = next(node for node in proto.graph.node if node.output[0] == "key_five1")
    unsqueezed.input[0] = "present.0.key"  # the second layer looks at the keys of the first
    assert "middle0" in _refusals(proto)
