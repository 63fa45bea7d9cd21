"""From a file to a smaller file: what is written, reported and replayed, and that the command and the API agree."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import graphprune
from graphprune import DataOptions, LayerCKA, RecoveryOptions, RunOptions, RuntimeOptions, TimingOptions
from graphprune import rewrite as rewrite_room
from graphprune.analysis.blocks import Block
from graphprune.errors import DataError, PlanError, ValidationFailed
from graphprune.ir.export import to_proto
from graphprune.ir.model import Model
from graphprune.plan.plan import Plan
from tests.command import command
from tests.digests import digest
from tests.graphs import ops, residual_mlp, run
from tests.repair.nets import correlated, resnet
from tests.schemas import assert_published

FAST = RunOptions(
    data=DataOptions(samples=64),
    timing=TimingOptions(seconds=0.05, allow_slower=True),
    recovery=RecoveryOptions(repair=()),
)  # what a repair does has its own tests


@pytest.mark.slow
def test_written_file_is_smaller_valid_and_equal_to_the_masked_original(
    shipped: Path, calibration: Path, evaluation: Path, tmp_path: Path
) -> None:
    out, test = tmp_path / "small.onnx", tmp_path / "test.npz"
    with np.load(evaluation) as arrays:
        np.savez(test, **{name: arrays[name][:500] for name in arrays.files})
    result = graphprune.prune(
        shipped,
        [LayerCKA()],
        calibration,
        "removed=3",
        out,
        options=replace(FAST, data=replace(FAST.data, evaluation=test, samples=128)),
    )
    onnx.checker.check_model(str(out), full_check=True)
    small, whole = onnx.load(out), onnx.load(shipped)
    assert len(small.graph.node) == len(whole.graph.node) - 3 * 5
    assert ops(small).count("Identity") == 0
    assert [v.SerializeToString() for v in small.graph.input] == [v.SerializeToString() for v in whole.graph.input]
    assert [v.SerializeToString() for v in small.graph.output] == [v.SerializeToString() for v in whole.graph.output]
    assert result.validation is not None
    assert result.validation.max_relative_error <= 1e-6
    assert result.validation.samples == 128
    assert result.evaluation is not None
    assert result.evaluation.before == pytest.approx(0.952)
    assert 0.9 < result.evaluation.after < result.evaluation.before
    assert result.after.macs == result.before.macs - 3 * 3_612_672
    assert result.after.bytes == out.stat().st_size
    assert sorted(tmp_path.iterdir()) == [out, test]


def test_optimised_graph_is_not_longer_than_the_original(shipped: Path, calibration: Path, tmp_path: Path) -> None:
    """No selector, Identity or lost fusion: five fused nodes... or fewer remain per block, as before."""
    out = tmp_path / "small.onnx"
    graphprune.prune(
        shipped,
        [LayerCKA()],
        calibration,
        "removed=3",
        out,
        options=replace(FAST, timing=replace(FAST.timing, measure_latency=False)),
    )
    counts = []
    for path in (shipped, out):
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
        options.log_severity_level = 4
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        counts.append(len(onnx.load(tmp_path / "optimised.onnx").graph.node))
    per_block = 2  # two fused convolutions, the second with the addition and the Relu
    assert counts[1] <= counts[0] - 3 * per_block


@pytest.mark.slow
def test_command_and_api_write_the_same_bytes(
    shipped: Path,
    calibration: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    api, cli, report = tmp_path / "api.onnx", tmp_path / "cli.onnx", tmp_path / "report.json"
    result = graphprune.prune(shipped, ["layer-cka"], str(calibration), "removed=2", api, options=FAST)
    words = ["--pass", "layer-cka", "--data", calibration, "--target", "removed=2", "-o", cli, "--json", report]
    fast = ["--duration", 0.05, "--allow-slower"]
    assert command(monkeypatch, shipped, *words, "--num-samples", 64, "--repair", "none", *fast) == 0
    assert digest(api) == digest(cli)
    told = json.loads(report.read_text())
    mine = json.loads(result.to_json())
    assert_published(told)
    assert told["schema"] == "graphprune.result/1"
    for key in ("asked", "reached", "blocks_removed", "before", "after", "validation", "plan"):
        assert told[key] == mine[key]
    assert "asked removed=2, reached 2" in capsys.readouterr().out


def test_json_on_stdout_is_alone_there(
    shipped: Path,
    calibration: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [
        "--pass",
        "layer-cka",
        "--data",
        calibration,
        "--target",
        "removed=1",
        "--num-samples",
        32,
        "--no-bench",
        "--repair",
        "none",
    ]
    assert command(monkeypatch, shipped, *words, "-o", tmp_path / "s.onnx", "--json", "-") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["reached"] == 1
    assert "asked removed=1" in printed.err


@pytest.mark.slow
def test_dry_run_writes_only_the_plan_and_apply_repeats_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("model.onnx", "calib.npz", "plan.json", "direct.onnx", "replayed.onnx")
    model, calibration, plan, direct, replayed = (tmp_path / name for name in names)
    onnx.save(resnet(6), model)
    np.savez(calibration, **correlated(60))  # type: ignore[arg-type]
    words = [model, "--pass", "layer-cka", "--data", calibration, "--target", "removed=2", "--num-samples", 40]
    assert command(monkeypatch, *words, "--dry-run", "--plan-out", plan) == 0
    assert set(tmp_path.iterdir()) == {model, calibration, plan}
    assert command(monkeypatch, *words, "--no-bench", "-o", direct) == 0
    again = ["apply", model, plan, "--data", calibration, "--num-samples", 40]  # the repair sees the same samples
    assert command(monkeypatch, *again, "--no-bench", "-o", replayed) == 0
    assert digest(direct) == digest(replayed)
    content = json.loads(plan.read_text())
    assert content["schema"] == "graphprune.plan/1"
    step = content["decisions"][0]["blocks"][0]
    told = {"name", "join", "entry", "exit", "macs", "params", "score", "standard_error", "scores", "is_linearised"}
    assert told == set(step)
    assert all(score["standard_error"] > 0 for score in step["scores"])
    assert Plan.load(plan).to_json() == plan.read_text()


def test_plan_is_bound_to_its_model(shipped: Path, calibration: Path, tmp_path: Path) -> None:
    plan = graphprune.prune(shipped, ["layer-cka"], calibration, "removed=1", dry_run=True, options=FAST).plan
    other = onnx.load(shipped)
    other.producer_name = "somebody else"
    path = tmp_path / "other.onnx"
    onnx.save(other, path)
    with pytest.raises(PlanError, match="made for another model"):
        graphprune.apply(path, plan, calibration, options=FAST)
    allowed = graphprune.apply(path, plan, calibration, allow_other_model=True, options=FAST)
    assert allowed.plan.blocks == plan.blocks
    stranger = replace(plan, decisions=(replace(plan.decisions[0], blocks=(replace(plan.blocks[0], join="no_such"),)),))
    with pytest.raises(PlanError, match="there is no node 'no_such'"):
        graphprune.apply(shipped, stranger, calibration, options=FAST)


def test_two_passes_add_up(shipped: Path, calibration: Path) -> None:
    """The second pass sees the model the first one left, and the check sees both."""
    passes = [LayerCKA(exclude=("stages.1.*", "stages.2.*")), LayerCKA(exclude=("stages.0.*",))]
    result = graphprune.prune(
        shipped,
        passes,
        calibration,
        "removed=5",
        options=replace(FAST, timing=replace(FAST.timing, measure_latency=False)),
    )
    first, second = result.plan.decisions
    assert len(first.blocks) == 3
    assert "floor" in first.limit
    assert len(second.blocks) == 2
    assert result.validation is not None
    assert result.validation.max_relative_error <= 1e-6


def test_models_and_readers_as_objects(calibration: Path) -> None:
    proto = residual_mlp(5)
    before = proto.SerializeToString()
    rows = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
    result = graphprune.prune(proto, ["layer-cka"], (row[None] for row in rows), "removed=2", options=FAST)
    assert proto.SerializeToString() == before
    assert result.output is None
    assert result.model is not None
    assert len(result.model.graph.nodes) == len(proto.graph.node) - 2 * 4


def test_no_data_is_said_loudly(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [shipped, "--pass", "layer-cka", "--target", "removed=1", "--no-bench", "-o", tmp_path / "s.onnx"]
    assert command(monkeypatch, *words) == 1
    assert not (tmp_path / "s.onnx").exists()
    assert command(monkeypatch, *words, "--allow-made-up-data") == 0
    assert "NO CALIBRATION DATA" in capsys.readouterr().err
    with pytest.raises(DataError, match="layer-cka scores on samples"):
        graphprune.prune(shipped, ["layer-cka"], None, "removed=1")
    result = graphprune.prune(shipped, ["layer-cka"], None, "removed=1", dry_run=True)
    assert result.plan.data["kind"] == "synthetic"


def test_agreement_where_there_are_no_labels(shipped: Path, calibration: Path) -> None:
    options = replace(
        FAST, data=replace(FAST.data, evaluation=calibration), timing=replace(FAST.timing, measure_latency=False)
    )
    result = graphprune.prune(shipped, ["layer-cka"], calibration, "removed=2", options=options)
    assert result.evaluation is not None
    assert (result.evaluation.kind, result.evaluation.before, result.evaluation.samples) == ("agreement", 1.0, 512)
    assert 0.9 < result.evaluation.after < 1


def test_broken_rewrite_writes_nothing(
    shipped: Path, calibration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One consumer rewired wrongly on purpose; shapes fit, so only the oracle can tell."""
    right = rewrite_room.remove_blocks

    def wrong(model: Model, blocks: list[Block]) -> Model:
        small = right(model, blocks)
        nodes = {node.name: node for node in small.graph.nodes}
        reader = nodes["node_Conv_447"]  # first convolution of stages.0.1; reads the stem's Relu two layers too early
        reader.inputs[0] = next(n for n in small.graph.nodes if n.op == "Relu").outputs[0]
        return small

    monkeypatch.setattr("graphprune.rewrite.apply.remove_blocks", wrong)
    with pytest.raises(ValidationFailed, match="differs from the masked original"):
        graphprune.prune(shipped, ["layer-cka"], calibration, "removed=1", tmp_path / "small.onnx", options=FAST)
    assert list(tmp_path.iterdir()) == []


def test_default_output_lies_beside_the_model(shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "net.onnx"
    model.write_bytes(shipped.read_bytes())
    assert command(monkeypatch, model, "--pass", "filter-magnitude", "--target", "removed=1", "--no-bench") == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.onnx", "net.pruned.onnx"]
    assert digest(model) == digest(shipped)


def test_bench_batch_reaches_the_timing(shipped: Path, calibration: Path) -> None:
    options = replace(FAST, timing=replace(FAST.timing, batch=8), runtime=RuntimeOptions(threads=1))
    result = graphprune.prune(shipped, ["layer-cka"], calibration, "removed=1", options=options)
    assert result.measurement is not None
    assert result.measurement.batch == 8
    assert result.measurement.environment["threads"] == 1
    assert result.measurement.comparison.pairs >= 30


def test_one_sample_outputs_match_between_memory_and_disk(shipped: Path, calibration: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.onnx"
    result = graphprune.prune(shipped, ["layer-cka"], calibration, "removed=1", out, options=FAST)
    assert result.model is not None
    feeds = {"input": np.load(calibration)["input"][:2]}
    np.testing.assert_array_equal(run(out, feeds)[0], run(to_proto(result.model), feeds)[0])
