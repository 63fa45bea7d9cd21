"""``joint-cka``: two matched children at each step, the same repair, and the one more like its parent goes on."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest

import graphprune
from graphprune import RunOptions, RuntimeOptions, TimingOptions
from graphprune.errors import DataError, NothingToPrune, OptionError, TargetNotReached
from graphprune.importance.similarity import linear_cka
from graphprune.ir.export import to_proto
from graphprune.pass_infra.joint import children
from graphprune.passes.joint_cka import JointCKA
from graphprune.plan.plan import Plan, TrajectoryPoint
from graphprune.report.result import Result
from tests.graphs import build, run
from tests.passes.asking import inner
from tests.token_graphs import Shape, tokens, transformer

if TYPE_CHECKING:
    from tests.zoo.fixtures import Zoo

pytest_plugins = ["tests.zoo.fixtures"]

QUIET = RunOptions(batch=16, align=1, timing=TimingOptions(measure_latency=False), runtime=RuntimeOptions(threads=1))
PLAIN = replace(QUIET, recovery=replace(QUIET.recovery, repair=()))


def small_resnet(blocks: int = 5, width: int = 6) -> onnx.ModelProto:
    """A stem, ``blocks`` residual blocks of two convolutions, pooling and a dense layer."""
    lines, shapes = (
        ["[stem] z = Conv<pads = [1, 1, 1, 1]>(x, w_stem) [relu] h0 = Relu(z)"],
        {"w_stem": (width, 3, 3, 3)},
    )
    for i in range(blocks):
        shapes |= {f"a{i}": (width, width, 3, 3), f"b{i}": (width, width, 3, 3)}
        lines.append(
            f"[b{i}_conv1] p{i} = Conv<pads = [1, 1, 1, 1]>(h{i}, a{i}) [b{i}_relu] q{i} = Relu(p{i}) "
            f"[b{i}_conv2] r{i} = Conv<pads = [1, 1, 1, 1]>(q{i}, b{i}) [b{i}_add] s{i} = Add(h{i}, r{i}) "
            f"[b{i}_out] h{i + 1} = Relu(s{i})"
        )
    lines.append(f"[pool] g = GlobalAveragePool(h{blocks}) [flat] f = Flatten(g) [fc] y = Gemm(f, w_fc)")
    return build(f"(float[N,3,6,6] x) => (float[N,4] y) {{ {' '.join(lines)} }}", shapes | {"w_fc": (width, 4)})


def images(count: int = 64) -> np.ndarray:
    return np.random.default_rng(7).standard_normal((count, 3, 6, 6)).astype(np.float32)


def labelled(count: int = 64) -> dict[str, np.ndarray]:
    return {"x": images(count), "labels": np.random.default_rng(8).integers(0, 4, count)}


def pruned(proto: onnx.ModelProto, spec: str, data: object, target: str, options: RunOptions = QUIET) -> Result:
    return graphprune.prune(proto, [spec], data, target, options=options)


def test_trajectory_is_recorded_and_the_target_is_met(tmp_path: Path) -> None:
    proto = small_resnet()
    result = pruned(proto, "joint-cka{samples=32}", images(), "flops=0.5")
    steps = result.plan.trajectory
    assert len(steps) == len(result.plan.decisions) > 1
    assert result.plan.reached <= 0.5 < steps[-2].macs / result.before.macs
    assert (steps[-1].macs, steps[-1].params) == (result.after.macs, result.after.params)
    for decision, step in zip(result.plan.decisions, steps, strict=True):
        assert (step.kind == "layer") == bool(decision.blocks)
        assert step.score is not None and (step.rival_score is None or step.score >= step.rival_score)
    assert result.validation is not None and result.validation.max_relative_error < 1e-4


def test_the_child_with_the_higher_similarity_wins() -> None:
    """Both children made by other passes from the even samples, and judged on the odd ones the slow way."""
    proto, data = small_resnet(), images(32)
    step = pruned(proto, "joint-cka{match=flops,refit=false}", data, "flops=0.95", PLAIN).plan.trajectory[0]
    half = replace(PLAIN, data=replace(PLAIN.data, samples=16))
    layer = pruned(proto, "layer-cka", data[::2], "removed=1", half)
    left = layer.after.macs / layer.before.macs
    filters = pruned(proto, "filter-obs{scope=group,floor=0}", data[::2], f"flops={left}", half)
    assert abs(filters.after.macs - layer.after.macs) < 0.03 * layer.before.macs
    base = inner(proto, {"x": data[1::2]}, "g")[0]
    scores = {}
    for kind, result in (("layer", layer), ("filters", filters)):
        assert result.model is not None
        found = inner(to_proto(result.model), {"x": data[1::2]}, "g")[0]
        scores[kind] = linear_cka(base[:, :, 0, 0], found[:, :, 0, 0])
    winner, loser = sorted(scores, key=lambda kind: -scores[kind])
    assert (step.kind, step.rival_kind) == (winner, loser)
    assert (step.score, step.rival_score) == pytest.approx((scores[winner], scores[loser]), abs=1e-6)
    assert scores[winner] - scores[loser] > 1e-4
    won = layer if winner == "layer" else filters
    assert (step.macs, step.params) == (won.after.macs, won.after.params)


def _with(proto: onnx.ModelProto, change: dict[str, Any]) -> onnx.ModelProto:
    """Weights multiplied by arrays that broadcast to them."""
    for tensor in proto.graph.initializer:
        if tensor.name in change:
            values = onnx.numpy_helper.to_array(tensor) * np.asarray(change[tensor.name], np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), tensor.name))
    return proto


def test_of_equals_the_layer_goes() -> None:
    """Branches that add nothing: every child is its parent."""
    proto = _with(small_resnet(), {f"b{i}": 0.0 for i in range(5)})
    step = pruned(proto, "joint-cka{refit=false}", images(), "flops=0.95", PLAIN).plan.trajectory[0]
    assert step.score == step.rival_score == pytest.approx(1.0)
    assert (step.kind, step.rival_kind) == ("layer", "filters")


def test_as_many_filters_as_the_block_has() -> None:
    """Half of the filters inside the blocks are dead, so they win; two convolutions of six are matched."""
    dead = np.array([1, 1, 1, 0, 0, 0]).reshape(1, 6, 1, 1)
    proto = _with(small_resnet(), {f"b{i}": 3 * dead for i in range(5)})
    result = pruned(proto, "joint-cka", images(), "flops=0.97")
    (decision,) = result.plan.decisions
    assert decision.trajectory[0].kind == "filters"
    assert sum(len(units.removed) for units in decision.units) == 12
    assert all(2 <= len(units.removed) <= 3 for units in decision.units)
    assert decision.trajectory[0].removed[0] == f"{decision.units[0].group}: {len(decision.units[0].removed)} of 6"
    assert all(set(units.removed) <= {3, 4, 5} for units in decision.units)


def test_equal_macs() -> None:
    dead = np.array([1, 1, 1, 0, 0, 0]).reshape(1, 6, 1, 1)
    proto = _with(small_resnet(), {f"b{i}": 3 * dead for i in range(5)})
    result = pruned(proto, "joint-cka{match=flops}", images(), "flops=0.97")
    block_macs = 2 * 6 * 6 * 9 * 36
    filter_macs = 2 * 6 * 9 * 36
    saved = result.before.macs - result.plan.trajectory[0].macs
    assert result.plan.trajectory[0].kind == "filters"
    assert block_macs <= saved < block_macs + filter_macs


def test_equal_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock by which filters left cost a quarter more than what a lost block leaves."""
    dead = np.array([1, 1, 1, 0, 0, 0]).reshape(1, 6, 1, 1)
    proto = _with(small_resnet(6, width=6), {f"b{i}": 3 * dead for i in range(6)})

    def sizes(model: onnx.ModelProto) -> int:
        return sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer if len(tensor.dims) == 4)

    def clock(layer: onnx.ModelProto, child: onnx.ModelProto, *_: object, **__: object) -> Any:
        return SimpleNamespace(comparison=SimpleNamespace(ratio=1.25 * sizes(child) / sizes(layer)))

    monkeypatch.setattr(children, "measure", clock)
    result = pruned(proto, "joint-cka{match=latency,refit=false}", images(), "flops=0.97", PLAIN)
    step = result.plan.trajectory[0]
    assert step.kind == "filters"
    blocks = 6 * 2 * 6 * 6 * 9
    stem = 6 * 3 * 9
    layer = blocks * 5 / 6 + stem
    found = step.params - 6 * 4
    assert 1.25 * found / layer == pytest.approx(1, abs=0.05)


def test_only_filters_where_the_floor_binds() -> None:
    result = pruned(small_resnet(), "joint-cka{floor=5}", images(), "flops=0.6")
    assert {step.kind for step in result.plan.trajectory} == {"filters"}
    assert {step.rival_kind for step in result.plan.trajectory} == {None}
    assert not result.plan.blocks
    shares = [step.macs for step in result.plan.trajectory]
    assert all(after >= 0.8 * before for before, after in pairwise(shares))


def test_only_layers_where_no_filter_may_go() -> None:
    result = pruned(small_resnet(), "joint-cka{exclude_groups=*}", images(), "flops=0.5")
    assert {step.kind for step in result.plan.trajectory} == {"layer"}
    assert len(result.plan.blocks) == 3


def test_excluded_groups_and_blocks_stay() -> None:
    joint = JointCKA(exclude=("b1*", "b2*"), exclude_groups=("b0*", "b3*"))
    result = graphprune.prune(small_resnet(), [joint], images(), "flops=0.6", options=QUIET)
    assert not {block.name[:2] for block in result.plan.blocks} & {"b1", "b2"}
    assert not {units.group[:2] for units in result.plan.units} & {"b0", "b3"}
    with pytest.raises(OptionError, match="no group or layer is named 'nobody'"):
        pruned(small_resnet(), "joint-cka{exclude_groups=nobody}", images(), "flops=0.6")


def test_limits_are_known_before_anything_is_scored() -> None:
    steps: list[str] = []
    options = replace(QUIET, progress=lambda task, done, total: steps.append(task))
    with pytest.raises(
        TargetNotReached, match=r"at most flops=0\.1.*floor of 2 blocks.*one unit of each group"
    ) as caught:
        pruned(small_resnet(), "joint-cka", images(), "flops=0.01", options)
    assert not any(task.startswith("step") for task in steps)
    reachable = float(str(caught.value).partition("at most flops=")[2].split(",")[0])
    result = pruned(small_resnet(), "joint-cka{samples=16}", images(), f"flops={reachable + 2e-4}")
    assert result.plan.reached == pytest.approx(reachable, abs=2e-4)


def test_plan_makes_the_same_bytes_again(tmp_path: Path) -> None:
    proto, data = small_resnet(), images()
    result = graphprune.prune(proto, ["joint-cka"], data, "flops=0.5", tmp_path / "a.onnx", options=QUIET)
    assert result.repair is not None and result.repair.kept
    result.plan.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == result.plan
    graphprune.apply(proto, tmp_path / "plan.json", data, tmp_path / "b.onnx", options=QUIET)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    again = graphprune.prune(proto, ["joint-cka"], data, "flops=0.7", dry_run=True, options=QUIET)
    assert again.plan.decisions == result.plan.decisions[: len(again.plan.decisions)]


LAYERS_ONLY = JointCKA(exclude_groups=("*",), exclude=("b3*", "b4*"))
"""What is repaired lies behind what goes, so early blocks go."""


def test_held_out_samples_neither_choose_nor_repair() -> None:
    """Other odd samples: blocks of every step score the same, though they are scored in repaired networks."""
    data = images(64)
    other = data.copy()
    other[1::2] = 100 * np.random.default_rng(1).standard_normal(other[1::2].shape)

    def plan(joint: JointCKA, given: np.ndarray) -> Plan:
        return graphprune.prune(small_resnet(), [joint], given, "flops=0.7", dry_run=True, options=QUIET).plan

    one, two = plan(LAYERS_ONLY, data), plan(LAYERS_ONLY, other)
    assert len(one.blocks) == 2
    assert [block.scores for block in one.blocks] == [block.scores for block in two.blocks]
    assert [step.score for step in one.trajectory] != [step.score for step in two.trajectory]
    unrepaired = plan(replace(LAYERS_ONLY, refit=False), data)
    assert unrepaired.blocks[0].scores == one.blocks[0].scores
    assert unrepaired.blocks[1].scores != one.blocks[1].scores


def test_both_children_are_repaired() -> None:
    """It can only be seen in the scores, which rise."""

    def step(repair: bool) -> TrajectoryPoint:
        joint = JointCKA(refit=repair, exclude=("b3*", "b4*"))
        return graphprune.prune(
            small_resnet(), [joint], images(), "flops=0.95", dry_run=True, options=QUIET
        ).plan.trajectory[0]

    plain, repaired = step(False), step(True)
    assert plain.rival_score is not None and repaired.rival_score is not None
    assert plain.score is not None and repaired.score is not None
    assert max(plain.score, plain.rival_score) + 1e-3 < repaired.score
    assert min(plain.score, plain.rival_score) + 1e-3 < repaired.rival_score


def test_loss_on_labels_decides() -> None:
    proto, data = small_resnet(), labelled(32)
    result = pruned(proto, "joint-cka{arbiter=loss,refit=false}", data, "flops=0.95", PLAIN)
    step = result.plan.trajectory[0]
    assert result.model is not None and step.arbiter == "loss"
    odd = {name: array[1::2] for name, array in data.items()}
    scores = run(to_proto(result.model), {"x": odd["x"]})[0].astype(np.float64)
    shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    assert step.score == pytest.approx(-np.log(shares[np.arange(16), odd["labels"]]).mean(), rel=1e-5)
    assert step.rival_score is not None and step.score is not None and step.rival_score > step.score
    with pytest.raises(DataError, match="has no labels"):
        pruned(proto, "joint-cka{arbiter=loss}", images(), "flops=0.9")
    with pytest.raises(DataError, match="do not fit the first output"):
        pruned(proto, "joint-cka{arbiter=loss}", data | {"labels": data["labels"] + 1}, "flops=0.9")


def test_sublayers_against_heads_and_neurons() -> None:
    """The units are worth the sub-layer in parameters; both kinds of step occur on the way."""
    shape = Shape(layers=3, heads=4, kv_heads=4, depth=4, neurons=32, width=8)
    result = pruned(transformer(shape), "joint-cka", tokens(shape, samples=32), "params=0.5", PLAIN)
    steps, params = result.plan.trajectory, [result.before.params, *(step.params for step in result.plan.trajectory)]
    assert {step.kind for step in steps} == {"layer", "units"}
    attention, mlp = shape.heads * shape.head_params, shape.neurons * shape.neuron_params
    first = next(index for index, step in enumerate(steps) if step.kind == "units")
    kinds = {units.kind for units in result.plan.decisions[first].units}
    assert kinds <= {"heads", "neurons"}
    saved = params[first] - params[first + 1]
    assert min(attention, mlp) * 0.5 <= saved <= max(attention, mlp) + 3 * shape.neuron_params
    assert result.validation is not None and result.validation.max_relative_error < 1e-4


def test_exported_encoder(zoo: Zoo) -> None:
    path, feed = zoo("post_norm_encoder", "torchscript")
    random = np.random.default_rng(0)
    data = {
        name: random.integers(0, array.max() + 1, (16, *array.shape[1:])).astype(array.dtype)
        for name, array in feed.items()
    }
    result = pruned(onnx.load(path), "joint-cka", data, "params=0.7")
    assert result.plan.trajectory and result.plan.reached <= 0.7
    assert result.validation is not None and result.validation.max_relative_error < 1e-4


def test_every_step_is_timed_where_time_is_measured(tmp_path: Path) -> None:
    options = replace(QUIET, timing=replace(QUIET.timing, measure_latency=True, seconds=0.01, allow_slower=True))
    result = graphprune.prune(
        small_resnet(), ["joint-cka"], images(), "flops=0.7", tmp_path / "a.onnx", options=options
    )
    assert all(step.latency_ratio is not None and step.latency_ratio > 0 for step in result.plan.trajectory)


def test_training_follows_every_step() -> None:
    """The next parent is then the trained network, and each step is a round of its own."""
    pytest.importorskip("torch", reason="training needs PyTorch")
    from graphprune.training import TrainOptions

    training = TrainOptions.parse("epochs=1,batch=16,lr=0.001,device=cpu,augment=none")
    options = replace(QUIET, recovery=replace(QUIET.recovery, finetune=training, finetune_every="removal"))
    result = pruned(small_resnet(), "joint-cka", labelled(64), "flops=0.5", options)
    assert len(result.training) == len(result.plan.trajectory) == len(result.plan.decisions) > 1
    assert result.validation is not None and result.validation.max_relative_error < 1e-4


@pytest.mark.parametrize("target", ["removed=3", "ratio=0.5"])
def test_targets_that_count_units_are_refused(target: str) -> None:
    with pytest.raises(OptionError, match="cannot count both"):
        pruned(small_resnet(), "joint-cka", images(), target)


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(OptionError, match="cannot choose and judge with 4 samples"):
        pruned(small_resnet(), "joint-cka{samples=4}", images(), "flops=0.9")
    with pytest.raises(DataError, match=r"fewer than 3 samples to judge by|samples to compare"):
        pruned(small_resnet(), "joint-cka", images(5), "flops=0.9")


def test_nothing_to_remove() -> None:
    proto = build("(float[N,4] x) => (float[N,3] y) { [fc] y = MatMul(x, w) }", {"w": (4, 3)})
    with pytest.raises(NothingToPrune, match="neither a residual block nor filters"):
        pruned(proto, "joint-cka", np.ones((16, 4), np.float32), "flops=0.9")
