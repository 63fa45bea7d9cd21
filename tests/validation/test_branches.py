"""A cut in a branch that no sample takes is checked as well."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest

from graphprune import RecoveryOptions, RunOptions, RuntimeOptions, TimingOptions, prune
from graphprune.analysis.groups import find_groups
from graphprune.axes.infer import infer
from graphprune.data.dataset import load_data
from graphprune.errors import ValidationFailed
from graphprune.ir.bodies import all_nodes
from graphprune.ir.loading import load
from graphprune.ir.model import Model, read_values
from graphprune.rewrite import remove_units
from graphprune.rewrite.removal import Removal
from graphprune.rewrite.weights import new_constant
from graphprune.validation.branches import check_branches
from graphprune.validation.yardstick import Yardstick
from tests.axes.oracles import keep_share
from tests.graphs import Arrays, build

ONE_THREAD = RuntimeOptions(threads=1)
FAST = RunOptions(
    runtime=ONE_THREAD,
    timing=TimingOptions(seconds=0.01, allow_slower=True),
    recovery=RecoveryOptions(repair=()),
)
TWO = """(float[N, 4] x, bool c) => (float[N, 4] y) { [choice] y = If(c) <
    then_branch = yes () => (float[N, 4] t) { [one] a = MatMul(x, w1) b = Relu(a) [two] t = MatMul(b, w2) },
    else_branch = no () => (float[N, 4] e) { [three] a = MatMul(x, v1) b = Relu(a) [four] e = MatMul(b, v2) }> }"""
WEIGHTS = {"w1": (4, 8), "w2": (8, 4), "v1": (4, 6), "v2": (6, 4)}
FAR = TWO.replace("[three] a = MatMul(x, v1)", "s = Gather(x, far) k = Unsqueeze(s, zero) [three] a = MatMul(k, v1)")
FAR_WEIGHTS: dict[str, np.ndarray | Sequence[int]] = {**WEIGHTS, "far": np.array(7), "zero": np.array([0])}
FEEDS = {"x": np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32), "c": np.array(True)}


def cut(proto: onnx.ModelProto) -> tuple[Removal, Model]:
    model = load(proto)
    typing = infer(model)
    kept = keep_share([group for group in find_groups(model, typing) if group.is_prunable], 0.5)
    return Removal(model, typing=typing, kept=kept), remove_units(model, typing, kept)


def checked(step: Removal, small: Model, feeds: Arrays) -> None:
    data = load_data(feeds, step.model, None)
    check_branches(step, small, data, 1, ONE_THREAD, Yardstick(step.model, data, 1, ONE_THREAD))


def test_both_branches_of_a_right_cut_pass() -> None:
    checked(*cut(build(TWO, WEIGHTS)), FEEDS)


@pytest.mark.parametrize("name", ["two", "four"])
def test_a_wrong_weight_is_found_in_either_branch(name: str) -> None:
    """All samples take the first branch, a wrong unit lies in either."""
    step, small = cut(build(TWO, WEIGHTS))
    node = next(node for node in all_nodes(small.graph) if node.name == name)
    values = read_values(node.inputs[1], None)
    node.inputs[1] = new_constant(node.inputs[1].name, values[::-1])
    branch = "then" if name == "two" else "else"
    with pytest.raises(ValidationFailed, match=f"in the {branch} branch of choice, output 'y'"):
        checked(step, small, FEEDS)


def test_branch_in_a_branch_is_entered_through_both() -> None:
    """The cut lies where two conditions that are false lead."""
    text = """(float[N, 4] x, bool c, bool d) => (float[N, 4] y) { [outer] y = If(c) <
        then_branch = yes () => (float[N, 4] u) { [inner] u = If(d) <
            then_branch = deep () => (float[N, 4] t) { [one] a = MatMul(x, w1) b = Relu(a) [two] t = MatMul(b, w2) },
            else_branch = flat () => (float[N, 4] e) { e = Neg(x) }> },
        else_branch = no () => (float[N, 4] v) { v = Abs(x) }> }"""
    feeds = {"x": FEEDS["x"], "c": np.array(False), "d": np.array(False)}
    step, small = cut(build(text, {"w1": (4, 8), "w2": (8, 4)}))
    checked(step, small, feeds)
    node = next(node for node in all_nodes(small.graph) if node.name == "two")
    node.inputs[1] = new_constant(node.inputs[1].name, read_values(node.inputs[1], None)[::-1])
    with pytest.raises(ValidationFailed, match="in the then branch of inner in the then branch of outer"):
        checked(step, small, feeds)


OUTSIDE = """(float[N, 4] x, bool c) => (float[N, 4] y) { [up] h = MatMul(x, w1) [choice] y = If(c) <
    then_branch = yes () => (float[N, 4] t) { b = Relu(h) [two] t = MatMul(b, w2) },
    else_branch = no () => (float[N, 4] e) { d = ReduceSum(h, last) e = Add(d, x) }> }"""
OUTSIDE_WEIGHTS: dict[str, np.ndarray | Sequence[int]] = {"w1": (4, 8), "w2": (8, 4), "last": np.array([1])}


def test_a_branch_that_reads_what_was_cut_outside_is_entered() -> None:
    """It holds no weight of its own, and no sample takes it."""
    step, small = cut(build(OUTSIDE, OUTSIDE_WEIGHTS))
    checked(step, small, FEEDS)
    up = next(node for node in all_nodes(small.graph) if node.name == "up")
    two = next(node for node in all_nodes(small.graph) if node.name == "two")
    scale = np.float32(2)  # which the then branch takes back
    up.inputs[1] = new_constant(up.inputs[1].name, read_values(up.inputs[1], None) * scale)
    two.inputs[1] = new_constant(two.inputs[1].name, read_values(two.inputs[1], None) / scale)
    with pytest.raises(ValidationFailed, match="in the else branch of choice, output 'y'"):
        checked(step, small, FEEDS)


def test_passes_cut_what_branches_read() -> None:
    result = prune(build(OUTSIDE, OUTSIDE_WEIGHTS), ["filter-magnitude"], FEEDS, "removed=2", options=FAST)
    assert [units.group for units in result.plan.decisions[0].units] == ["up/neurons"]


def test_branch_for_other_inputs_cannot_be_checked() -> None:
    """It reads a row that the samples do not have."""
    with pytest.raises(ValidationFailed, match="none of the samples runs in the else branch of choice"):
        checked(*cut(build(FAR, FAR_WEIGHTS)), FEEDS)


def test_pass_leaves_a_branch_alone_that_no_sample_runs_in() -> None:
    result = prune(build(FAR, FAR_WEIGHTS), ["filter-magnitude"], FEEDS, "removed=2", options=FAST)
    (decision,) = result.plan.decisions
    assert [units.group for units in decision.units] == ["one/neurons"]
    assert "none of the samples runs in the else branch of choice" in decision.notes[0]
