"""``layer-pls``: features by plain ONNX Runtime and textbook NIPALS; the tail, the rules and the targets."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import graphprune
from graphprune import RecoveryOptions, RunOptions, TimingOptions
from graphprune.errors import DataError, OptionError, TargetNotReached
from graphprune.report.result import Result
from graphprune.scoring.join_vip import pooled
from tests.graphs import residual_mlp, run
from tests.importance.nipals import nipals
from tests.passes.asking import decided, inner
from tests.small_cnns import stages
from tests.token_graphs import Shape, tokens, transformer

NOTE = "the data has no labels: PLS took the model's own arg-max for them"
BLOCKS = 5


def network(bias: np.ndarray | None = None) -> onnx.ModelProto:
    return stages((2, BLOCKS), bias=bias)


def images(seed: int, samples: int = 60) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = np.arange(samples) % 3
    x = generator.standard_normal((samples, 3, 12, 12)) + 0.5 * labels[:, None, None, None]
    return {"x": x.astype(np.float32), "labels": labels}


def windows(maps: np.ndarray, side: int) -> np.ndarray:
    """Means of the windows one by one, those at the edges smaller."""
    places = range(0, maps.shape[2], side)
    means = [maps[:, :, i : i + side, j : j + side].mean((2, 3)) for i in places for j in places]
    return np.stack(means, -1).reshape(len(maps), -1)


def figures(proto: onnx.ModelProto, data: dict[str, np.ndarray], labels: np.ndarray, side: int = 8) -> list[float]:
    y = (labels[:, None] == np.unique(labels)).astype(float)
    maps = inner(proto, data, *(f"t{i}" for i in range(2, 2 + BLOCKS)))
    return [float(nipals(windows(each, side).astype(np.float64), y, 4).vip().mean()) for each in maps]


def tail(values: list[float], floor: int = 2) -> list[str]:
    """The joins that go, from the end."""
    drop = next(i for i in range(1, len(values)) if values[i] < values[i - 1])
    return [f"join{2 + i}" for i in reversed(range(max(drop, floor, 1), len(values)))]


@pytest.mark.parametrize("seed", range(4))
def test_cuts_the_tail_behind_the_first_drop(seed: int) -> None:
    proto, data = network(), images(seed)
    values = figures(proto, data, data["labels"])
    result = decided(proto, "layer-pls", data)
    (decision,) = result.plan.decisions
    assert [block.join for block in decision.blocks] == tail(values)
    assert [score.score for score in decision.blocks[0].scores] == pytest.approx(values, rel=1e-4)
    assert all(0 < score.standard_error < 0.2 for score in decision.blocks[0].scores)
    assert (result.plan.asked, result.plan.reached) == ("rule", len(decision.blocks))
    assert NOTE not in result.notes


def test_cuts_differ_between_data() -> None:
    proto = network()
    assert len({len(tail(figures(proto, images(seed), images(seed)["labels"]))) for seed in range(4)}) > 1


@pytest.mark.parametrize("side", [0, 2, 4])
def test_windows(side: int) -> None:
    proto, data = network(), images(1)
    values = figures(proto, data, data["labels"], side or 6)
    found = decided(proto, f"layer-pls{{window={side},floor=1}}", data).plan.blocks
    assert [block.join for block in found] == tail(values, floor=1)
    assert [score.score for score in found[0].scores] == pytest.approx(values, rel=1e-4)


def test_a_window_at_the_edge_is_smaller() -> None:
    maps = np.random.default_rng(0).standard_normal((3, 2, 7, 7)).astype(np.float32)
    np.testing.assert_allclose(pooled(maps, 3, is_maps=True), windows(maps, 3), rtol=1e-5)


def test_without_labels_the_model_judges_itself() -> None:
    data = images(1)
    proto = network(-run(network(), {"x": data["x"]})[0].mean(0))
    own = run(proto, {"x": data["x"]})[0].argmax(1)
    assert len(set(own.tolist())) > 1
    result = decided(proto, "layer-pls", {"x": data["x"]})
    assert [s.score for s in result.plan.blocks[0].scores] == pytest.approx(figures(proto, data, own), rel=1e-4)
    assert NOTE in result.notes


def test_a_target_stops_it_from_the_end() -> None:
    proto, data = network(), images(_longest())
    (block,) = decided(proto, "layer-pls", data, "removed=1").plan.blocks
    assert block.join == f"join{1 + BLOCKS}"
    with pytest.raises(TargetNotReached, match=r"because of the cut at .*first drops, and the floor of 2 blocks"):
        decided(proto, "layer-pls", data, "flops=0.05")


def test_filters_go_on_from_there() -> None:
    """And the result is proved; without a target it is the usual one."""
    proto, data = network(), images(_longest())
    options = "layer-pls", "filter-pls-vip"
    result = _in_turn(proto, options, data, "flops=0.3")
    assert result.validation is not None
    assert result.validation.max_relative_error < 1e-5
    blocks, units = result.plan.decisions
    assert [block.join for block in blocks.blocks] == tail(figures(proto, data, data["labels"]))
    assert units.units
    assert _in_turn(proto, options, data, None).plan.asked == "flops=0.8"


def test_another_stage_and_kept_blocks() -> None:
    proto, data = network(), images(_longest())
    with pytest.raises(TargetNotReached, match="stage 0 has no block that may go, because of the floor"):
        decided(proto, "layer-pls{stage=0}", data)
    with pytest.raises(OptionError, match="there is no stage 2: the network has 2"):
        decided(proto, "layer-pls{stage=2}", data)
    blocks = decided(proto, f"layer-pls{{exclude=stages.1.{BLOCKS - 1}}}", data).plan.blocks
    assert f"join{1 + BLOCKS}" not in [block.join for block in blocks]


def test_tokens_are_averaged() -> None:
    shape = Shape(is_flat=False, gated=False)
    proto, data = transformer(shape), tokens(shape, samples=24)
    for seed in range(20):
        labels = np.random.default_rng(seed).integers(0, 2, 24)
        try:
            plan = decided(proto, "layer-pls", {**data, "labels": labels}, batch=5).plan
        except TargetNotReached:
            continue
        (values,) = inner(proto, data, plan.decisions[0].representations[0])
        assert values.ndim == 3
        y = (labels[:, None] == np.arange(2)).astype(float)
        expected = nipals(values.mean(1).astype(np.float64), y, 4).vip().mean()
        assert plan.blocks[0].scores[0].score == pytest.approx(expected, rel=1e-3)
        return
    pytest.fail("the importance never dropped")


def test_nothing_drops() -> None:
    """One block has nothing before it."""
    proto = residual_mlp(2)
    x = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
    x[:, 0] += np.arange(20) % 2
    for seed in range(20):
        data: dict[str, np.ndarray] = {"x": x + np.random.default_rng(seed).standard_normal(x.shape).astype(np.float32)}
        data["labels"] = np.arange(20) % 2
        try:
            decided(proto, "layer-pls", data)
        except TargetNotReached as error:
            assert "drops nowhere" in str(error)
            return
    pytest.fail("the second block was always below the first")


def test_refuses_what_it_cannot_work_with() -> None:
    proto, data = network(), images(0)
    with pytest.raises(OptionError, match="too small"):
        decided(proto, "layer-pls{components=0}", data)
    with pytest.raises(OptionError, match="pass layer-cka has no rule of its own"):
        decided(proto, "layer-cka", data, "rule")
    with pytest.raises(DataError, match="one label"):
        decided(proto, "layer-pls", data | {"labels": np.zeros(60, np.int64)})


def _longest() -> int:
    """Data of which the tail is longest."""
    proto = network()
    return max(range(4), key=lambda seed: len(tail(figures(proto, images(seed), images(seed)["labels"]))))


def _in_turn(
    proto: onnx.ModelProto, passes: tuple[str, ...], data: dict[str, np.ndarray], target: str | None
) -> Result:
    options = RunOptions(
        batch=7, align=1, timing=TimingOptions(measure_latency=False), recovery=RecoveryOptions(repair=())
    )
    return graphprune.prune(proto, list(passes), data, target, options=options)
