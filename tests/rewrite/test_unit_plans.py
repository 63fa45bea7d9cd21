"""Plans of every pass that cuts units: they survive JSON, give the same bytes again, and can be edited by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import pytest

import graphprune
from graphprune import DataOptions, RecoveryOptions, RunOptions, TimingOptions
from graphprune.errors import PlanError, TargetNotReached, ValidationFailed
from graphprune.ir.model import Model
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.unit_pass import UnitPass
from graphprune.plan.plan import Plan
from graphprune.rewrite import remove_units
from tests.command import command
from tests.digests import digest
from tests.graphs import assert_same, initialisers, run
from tests.small_cnns import flattened, grouped
from tests.token_graphs import Shape, tokens, transformer

QUIET = RunOptions(batch=8, align=1, timing=TimingOptions(measure_latency=False), recovery=RecoveryOptions(repair=()))
TOKENS = Shape(layers=2, heads=8, kv_heads=4, neurons=16, mask=True)
CNN_DATA: dict[str, np.ndarray] = {
    "x": np.random.default_rng(4).standard_normal((24, 3, 8, 8)).astype(np.float32),
    "labels": np.arange(24) % 3,
}
PASSES = [
    ("filter-magnitude", "flat"),
    ("filter-magnitude{norm=l1,widths=true,floor=0}", "grouped"),
    ("filter-magnitude{over=writers}", "tokens"),
    ("filter-pls-vip", "flat"),
    ("filter-pls-vip{estimator=cipls,widths=true}", "grouped"),
    ("head-projection", "tokens"),
    ("neuron-projection{scope=group}", "tokens"),
    ("amp", "tokens"),
    ("amp{budget=released}", "tokens"),
]


def given(kind: str) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    if kind == "tokens":
        return transformer(TOKENS), tokens(TOKENS, samples=12)
    return (flattened() if kind == "flat" else grouped()), CNN_DATA


@pytest.mark.parametrize(("spec", "kind"), PASSES)
def test_plan_and_apply_give_the_same_bytes(spec: str, kind: str, tmp_path: Path) -> None:
    proto, data = given(kind)
    source, direct, replayed = (tmp_path / name for name in ("net.onnx", "direct.onnx", "replayed.onnx"))
    onnx.save(proto, source)
    target = "params=0.8" if "amp" in spec or "widths" in spec else "ratio=0.25"
    results = [
        graphprune.prune(source, [spec], data, target, out, options=QUIET) for out in (direct, tmp_path / "again.onnx")
    ]
    assert results[0].plan.to_json() == results[1].plan.to_json()
    path = tmp_path / "plan.json"
    results[0].plan.save(path)
    plan = Plan.load(path)
    assert plan == results[0].plan
    assert plan.units
    applied = graphprune.apply(source, path, data, replayed, options=QUIET)
    assert digest(direct) == digest(replayed) == digest(tmp_path / "again.onnx")
    for result in (results[0], applied):
        assert result.validation is not None
        assert result.validation.max_relative_error < 1e-5
    onnx.checker.check_model(str(direct), full_check=True)
    assert sum(size.size for size in initialisers(onnx.load(direct)).values()) < sum(
        size.size for size in initialisers(proto).values()
    )


def test_what_the_plan_tells(tmp_path: Path) -> None:
    """Alone, each group gives up what its entry says; together they may give up less or more."""
    proto, data = given("flat")
    result = graphprune.prune(proto, ["filter-magnitude"], data, "ratio=0.4", dry_run=True, options=QUIET)
    decision = json.loads(result.plan.to_json())["decisions"][0]
    assert (decision["spec"], decision["considered"], decision["limit"], decision["notes"]) == (
        "filter-magnitude",
        24,
        "",
        [],
    )
    assert {(u["group"], u["kind"], u["size"]) for u in decision["units"]} == {
        ("c1/filters", "filters", 6),
        ("c3/filters", "filters", 8),
        ("fc1/neurons", "neurons", 10),
    }
    for units in result.plan.units:
        assert list(units.removed) == sorted(set(units.removed))
        assert len(units.scores) == units.size
        alone = replace(result.plan, decisions=(replace(result.plan.decisions[0], units=(units,)),))
        small = graphprune.apply(proto, alone, data, options=QUIET)
        assert small.before.macs - small.after.macs == units.macs
        assert small.before.params - small.after.params == units.params
    assert result.to_dict()["units_removed"] == {units.group: len(units.removed) for units in result.plan.units}


def test_plan_edited_by_hand_is_carried_out(tmp_path: Path) -> None:
    """Other neurons, in another order, than the pass chose: exactly those go."""
    proto, data = given("flat")
    result = graphprune.prune(
        proto, ["filter-magnitude{include=fc1/neurons}"], data, "removed=3", dry_run=True, options=QUIET
    )
    content = json.loads(result.plan.to_json())
    entry = content["decisions"][0]["units"][0]
    wanted = [index for index in range(10) if index not in entry["removed"]][:4]
    entry["removed"] = wanted[::-1]
    (tmp_path / "plan.json").write_text(json.dumps(content))
    applied = graphprune.apply(proto, tmp_path / "plan.json", data, tmp_path / "small.onnx", options=QUIET)
    old, new = initialisers(proto), initialisers(onnx.load(tmp_path / "small.onnx"))
    stay = np.setdiff1d(np.arange(10), wanted)
    np.testing.assert_array_equal(new["w4"], old["w4"][stay])
    np.testing.assert_array_equal(new["w5"], old["w5"][stay])
    masked = flattened()
    for name in ("w5",):
        tensor = next(each for each in masked.graph.initializer if each.name == name)
        values = old[name].copy()
        values[wanted] = 0
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, name))
    feeds = {"x": data["x"][:4]}
    assert_same(run(tmp_path / "small.onnx", feeds), run(masked, feeds))
    assert applied.validation is not None


def test_plan_that_names_what_is_not_there() -> None:
    proto, data = given("flat")
    plan = graphprune.prune(proto, ["filter-magnitude"], data, "removed=3", dry_run=True, options=QUIET).plan
    units = plan.units[0]
    for wrong, says in (
        (replace(units, group="c9/filters"), r"units of c9/filters \(\d+ units\), but there is no such group"),
        (replace(units, size=99), "99 units.*, but it has"),
        (replace(units, group="fc2/neurons", size=4, removed=(0,)), r"does not allow: .*model output.*\(node y\)"),
    ):
        bad = replace(plan, decisions=(replace(plan.decisions[0], units=(wrong,)),))
        with pytest.raises(PlanError, match=says):
            graphprune.apply(proto, bad, data, options=QUIET)


def test_layers_then_filters(shipped: Path, calibration: Path, tmp_path: Path) -> None:
    """The second pass counts on from the first, both steps are validated, and the plan repeats both."""
    options = RunOptions(
        align=1,
        data=DataOptions(samples=32),
        timing=TimingOptions(measure_latency=False),
        recovery=RecoveryOptions(repair=()),
    )
    passes = ["layer-cka{exclude=stages.1.*|stages.2.*}", "filter-magnitude"]
    direct, replayed = tmp_path / "direct.onnx", tmp_path / "replayed.onnx"
    result = graphprune.prune(shipped, passes, calibration, "removed=13", direct, options=options)
    first, second = result.plan.decisions
    assert len(first.blocks) == 3
    assert "floor" in first.limit
    assert (len(second.blocks), second.removed_count, second.limit) == (0, 10, "")
    assert result.plan.reached == 13
    assert result.validation is not None
    assert result.validation.max_relative_error < 1e-5
    result.plan.save(tmp_path / "plan.json")
    graphprune.apply(shipped, tmp_path / "plan.json", calibration, replayed, options=options)
    assert digest(direct) == digest(replayed)


def test_a_wrong_cut_in_the_first_of_two_steps_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The step between is compared too, though the second pass starts from what the first one left."""
    proto, data = given("flat")
    steps: list[Model] = []

    def wrong(*arguments: object) -> Model:
        small = remove_units(*arguments)  # type: ignore[arg-type]  # as they come
        if not steps:
            bias = next(node for node in small.graph.nodes if node.name == "fc2").inputs[2]
            bias.values = bias.values + 1
        steps.append(small)
        return small

    monkeypatch.setattr("graphprune.rewrite.apply.remove_units", wrong)
    passes = ["filter-magnitude{include=c1/filters,ratio=0.2}", "filter-magnitude{include=c3/filters}"]
    with pytest.raises(ValidationFailed, match="differs from the masked original"):
        graphprune.prune(proto, passes, data, "flops=0.7", options=QUIET)
    assert len(steps) == 2


def test_two_passes_on_one_group_add_up() -> None:
    proto, data = given("flat")
    passes = ["filter-magnitude{include=fc1/neurons,ratio=0.3}", "filter-magnitude{include=fc1/neurons,norm=l1}"]
    result = graphprune.prune(proto, passes, data, "removed=5", options=QUIET)
    assert [(units.size, len(units.removed)) for units in result.plan.units] == [(10, 3), (7, 2)]
    assert result.to_dict()["units_removed"] == {"fc1/neurons": 5}


def test_ratio_of_several_passes() -> None:
    """Equal ones are the target, as with one pass; each pass then goes for its own share of all."""
    proto, data = given("flat")
    passes = ["filter-magnitude{include=c1/filters,ratio=0.5}", "filter-magnitude{include=fc1/neurons,ratio=0.5}"]
    result = graphprune.prune(proto, passes, data, options=QUIET)
    assert (result.plan.asked, result.plan.reached) == ("ratio=0.5", 0.5)
    assert [len(units.removed) for units in result.plan.units] == [3, 5]


def test_the_command_aligns_and_shows_units(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    proto, data = given("flat")
    onnx.save(proto, tmp_path / "net.onnx")
    np.savez(tmp_path / "data.npz", x=data["x"])
    words = [tmp_path / "net.onnx", "--data", tmp_path / "data.npz", "--no-bench", "-o", tmp_path / "small.onnx"]
    assert command(monkeypatch, *words, "--pass", "filter-magnitude", "--target", "removed=1", "--align", "4") == 0
    shapes = {name: array.shape for name, array in initialisers(onnx.load(tmp_path / "small.onnx")).items()}
    assert all(shapes[name][0] % 4 == 0 or shapes[name][0] in (6, 8, 10) for name in ("w1", "w3", "w4"))
    printed = capsys.readouterr().out
    assert "filters in cut groups" in printed or "neurons in cut groups" in printed
    assert "asked removed=1, reached" in printed
    assert "removable blocks" not in printed
    assert "the network itself varies by" in printed


def test_multiples_by_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """``auto`` asks what the runtime likes; here four."""
    monkeypatch.setattr("graphprune.pass_infra.width_policy.multiple_for", lambda options, folder: 4)
    proto, data = given("flat")
    result = graphprune.prune(
        proto, ["filter-magnitude"], data, "flops=0.6", dry_run=True, options=replace(QUIET, align="auto")
    )
    assert {(units.size - len(units.removed)) % 4 for units in result.plan.units} == {0}


def test_finer_multiples_where_the_target_needs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only then, only for the last pass, and never where the user asked for a multiple."""
    monkeypatch.setattr("graphprune.pass_infra.width_policy.multiple_for", lambda options, folder: 4)
    proto, data = given("flat")

    def kept(
        target: str, align: Literal["auto"] | int, passes: tuple[str, ...] = ("filter-magnitude{floor=0}",)
    ) -> Any:
        options = replace(QUIET, align=align)
        result = graphprune.prune(proto, list(passes), data, target, dry_run=True, options=options)
        counts = {units.size - len(units.removed) for units in result.plan.units}
        return counts, [note for note in result.notes if "multiples" in note]

    reachable, told = kept("flops=0.6", "auto")
    assert not told
    assert reachable <= {4, 8}
    finer, told = kept("flops=0.2", "auto")
    assert finer == {1, 4}
    assert told == ["flops=0.2 is out of reach in multiples of 4: some groups keep fewer"]
    with pytest.raises(TargetNotReached, match="kept counts in multiples of 4"):
        kept("flops=0.2", 4)
    with pytest.raises(TargetNotReached) as caught:
        kept("flops=0.0001", "auto")
    assert "multiples" not in str(caught.value)
    passes = ("filter-magnitude{floor=0}", "neuron-projection{floor=0}")
    finer_for: list[str] = []
    chosen = UnitPass.candidates

    def watched(self: UnitPass, context: Context, *scored: Any) -> Any:
        if context.widths.min_multiple is not None:
            finer_for.append(self.name)
        return chosen(self, context, *scored)

    monkeypatch.setattr(UnitPass, "candidates", watched)
    kept("flops=0.2", "auto")
    assert set(finer_for) == {"filter-magnitude"}
    finer_for.clear()
    with pytest.raises(TargetNotReached):
        kept("flops=0.0001", "auto", passes)
    assert set(finer_for) == {"neuron-projection"}


@pytest.mark.parametrize("align", [0, -8])
def test_multiples_of_nothing(align: int) -> None:
    proto, data = given("flat")
    with pytest.raises(graphprune.GraphpruneError, match=f"widths cannot be kept in multiples of {align}"):
        graphprune.prune(proto, ["filter-magnitude"], data, "flops=0.8", options=replace(QUIET, align=align))
