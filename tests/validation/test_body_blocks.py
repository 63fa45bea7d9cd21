"""Blocks in bodies, taken out one by one and together: what is left is the masked original, in every branch."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from graphprune import RecoveryOptions, RunOptions, RuntimeOptions, TimingOptions, prune
from graphprune.analysis.representation import Representation
from graphprune.data.dataset import load_data
from graphprune.errors import NothingToPrune, ValidationFailed
from graphprune.ir.bodies import all_nodes
from graphprune.ir.export import to_proto
from graphprune.ir.model import Model
from graphprune.rewrite import remove_blocks
from graphprune.rewrite.removal import Removal
from graphprune.run.options import WorkerOptions
from graphprune.segments.runner import Segments
from graphprune.validation.branches import check_branches
from graphprune.validation.masked_original import masked_original
from graphprune.validation.structure import check_structure
from graphprune.validation.yardstick import Yardstick
from tests.body_graphs import IF, LOOP, NESTED, NORMED, SCAN, WEIGHTS, feeds, looked_at
from tests.graphs import assert_same, build, run

ONE_THREAD = RuntimeOptions(threads=1)
FAST = RunOptions(runtime=ONE_THREAD, timing=TimingOptions(measure_latency=False), recovery=RecoveryOptions(repair=()))
MANY = {"x": np.random.default_rng(0).standard_normal((24, 4)).astype(np.float32)}


@pytest.mark.parametrize("text", [LOOP, IF, SCAN, NESTED, NORMED], ids=["loop", "if", "scan", "nested", "normed"])
def test_every_choice_of_blocks(text: str) -> None:
    analysis = looked_at(text)
    blocks = [join.block for join in analysis.body_joins if join.block]
    whole = run(to_proto(analysis.model), feeds(text))
    for count in range(1, len(blocks) + 1):
        for chosen in combinations(blocks, count):
            small = remove_blocks(analysis.model, chosen)
            check_structure(small, "the removal")
            gone = {name for block in chosen for name in block.nodes}
            assert not gone & {node.name for node in all_nodes(small.graph)}
            expected = run(masked_original(Removal(analysis.model, tuple(chosen))), feeds(text))
            assert_same(run(to_proto(small), feeds(text)), expected)
            if text != IF or gone != set(blocks[-1].nodes):  # of the branch that is not taken
                assert any(not np.allclose(one, other) for one, other in zip(whole, expected, strict=True))


@pytest.mark.parametrize("text", [LOOP, IF, SCAN, NESTED, NORMED], ids=["loop", "if", "scan", "nested", "normed"])
def test_what_is_scored_is_what_is_left(text: str) -> None:
    """A gate that is shut says what the removal makes of the network; with others gone already, too."""
    analysis = looked_at(text)
    blocks = [join.block for join in analysis.body_joins if join.block]
    seen = Representation(analysis.model.graph.outputs[0].name, "last")
    segments = Segments.at_blocks(analysis.model, blocks, [seen.tensor], ONE_THREAD)
    assert_same([segments.run(feeds(text))[seen.tensor].numpy()], run(to_proto(analysis.model), feeds(text))[:1])
    for block in blocks:
        for others in ([], [other for other in blocks if other is not block]):
            gone = frozenset(other.join for other in others)
            env = segments.run(feeds(text), gone)
            found = segments.without(env, block, gone)[seen.tensor].numpy()
            left = remove_blocks(analysis.model, [*others, block])
            assert_same([found], run(to_proto(left), feeds(text))[:1])


def test_a_block_in_a_branch_that_no_sample_takes_is_checked() -> None:
    analysis = looked_at(IF)
    block = analysis.body_joins[-1].block
    assert block is not None
    step, small = Removal(analysis.model, (block,)), remove_blocks(analysis.model, [block])
    data = load_data(feeds(IF), analysis.model, None)

    def check(result: Model) -> None:
        check_branches(step, result, data, 2, ONE_THREAD, Yardstick(analysis.model, data, 2, ONE_THREAD))

    check(small)
    with pytest.raises(ValidationFailed, match="in the else branch of pick"):
        check(analysis.model)


@pytest.mark.parametrize("spec", ["layer-magnitude", "layer-cka", "layer-kl", "layer-consensus"])
def test_passes_remove_them(spec: str) -> None:
    result = prune(build(LOOP, WEIGHTS), spec, MANY, "removed=2", options=FAST)
    assert result.validation is not None
    (decision,) = result.plan.decisions
    assert len({removed.join for removed in decision.blocks} & {"join0", "join1", "join2"}) == 2
    assert result.after.params == result.before.params - 128


@pytest.mark.parametrize("spec", ["layer-angular", "layer-cka{shortlist=1}", "layer-cka{rescore=repaired}"])
def test_passes_that_look_inside_leave_them_and_say_so(spec: str) -> None:
    options: Any = RunOptions(runtime=ONE_THREAD, timing=FAST.timing)
    with pytest.raises(NothingToPrune, match="where no activations can be read"):
        prune(build(LOOP, WEIGHTS), spec, MANY, "removed=1", options=options)


def test_a_branch_that_no_sample_can_run_in_stays() -> None:
    """What it picks is not there."""
    text = IF.replace("yes () => (float[n, 4] u) {", "yes () => (float[n, 4] u) { m = Gather(x, far) o = Add(m, x)")
    text = text.replace("MatMul(x, w10)", "MatMul(o, w10)").replace("Add(k0, x)", "Add(k0, o)")
    proto = build(text, {**WEIGHTS, "far": np.array([99])})
    result = prune(proto, "layer-magnitude", MANY | {"c": np.array(False)}, "removed=1", options=FAST)
    (decision,) = result.plan.decisions
    assert [removed.join for removed in decision.blocks] == ["join2"]
    assert any("none of the samples runs in the then branch of pick" in note for note in decision.notes)


def test_other_processes_score_them_alike() -> None:
    here, there = (
        prune(build(LOOP, WEIGHTS), "layer-cka", MANY, "removed=2", options=replace(FAST, workers=workers))
        for workers in (WorkerOptions(), WorkerOptions(jobs=2))
    )
    assert here.plan.decisions == there.plan.decisions
