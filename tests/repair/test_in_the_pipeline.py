"""The repair in the pipeline: when it runs, what the plan remembers, what is told, what is refused."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import graphprune
from graphprune import RunOptions, RuntimeOptions, TimingOptions
from graphprune.errors import OptionError, ValidationFailed
from graphprune.ir.export import to_proto
from graphprune.ir.model import Model
from graphprune.pipeline import rounds
from graphprune.plan.plan import Plan
from graphprune.repair import stage
from graphprune.repair.stage import DEFAULT, Method
from tests.command import command
from tests.digests import digest
from tests.graphs import initialisers, random_feeds, residual_mlp, run
from tests.repair.nets import correlated, resnet
from tests.repair.story import spread
from tests.schemas import assert_published

QUIET = RunOptions(batch=8, timing=TimingOptions(measure_latency=False), runtime=RuntimeOptions(threads=1))
DATA = correlated(32)
CUT = ["filter-magnitude"], DATA, "flops=0.6"


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """A folder with a network, its data, and the same again to evaluate."""
    onnx.save(resnet(3), tmp_path / "net.onnx")
    np.savez(tmp_path / "calib.npz", x=DATA["x"])
    np.savez(tmp_path / "eval.npz", x=correlated(40, seed=8)["x"])
    return tmp_path / "net.onnx"


def words(net: Path, *more: object) -> list[object]:
    data = ["--data", net.with_name("calib.npz"), "--no-bench", "--threads", 1, "--batch-size", 8]
    return [net, "--pass", "filter-magnitude", "--target", "flops=0.6", *data, *more]


def test_default_is_all_there_is(net: Path) -> None:
    asked = graphprune.prune(net, *CUT, options=replace(QUIET, recovery=replace(QUIET.recovery, repair=DEFAULT)))
    default = graphprune.prune(net, *CUT, options=QUIET)
    assert default.repair is not None
    assert default.repair.methods == DEFAULT == default.plan.repair
    assert default.repair.samples == 32
    assert asked.repair is not None
    assert asked.repair.layers == default.repair.layers
    assert default.validation is not None  # of the network before the repair: that is what can be proved
    assert default.validation.max_relative_error < 1e-5


def test_without_data_there_is_none(net: Path) -> None:
    result = graphprune.prune(net, ["filter-magnitude"], None, "flops=0.6", options=QUIET)
    assert (result.repair, result.unrepaired, result.plan.repair) == (None, None, ())
    assert (
        graphprune.prune(
            net,
            ["filter-magnitude"],
            None,
            "flops=0.6",
            options=replace(QUIET, recovery=replace(QUIET.recovery, repair=())),
        ).repair
        is None
    )


@pytest.mark.parametrize("methods", [("ridge",), ("stats",), DEFAULT])
def test_made_up_samples_cannot_repair(net: Path, methods: tuple[Method, ...]) -> None:
    out = net.with_name("out.onnx")
    with pytest.raises(OptionError, match="there are none"):
        graphprune.prune(
            net,
            ["filter-magnitude"],
            None,
            "flops=0.6",
            out,
            options=replace(QUIET, recovery=replace(QUIET.recovery, repair=methods)),
        )
    assert not out.exists()


@pytest.mark.parametrize("methods", [(), ("stats",), ("ridge",), ("stats", "ridge")])
def test_file_holds_what_was_repaired(net: Path, methods: tuple[Method, ...]) -> None:
    """The plain cut with none; better with any; evaluated before and after."""
    out, held_out = net.with_name("out.onnx"), correlated(40, seed=8)
    options = replace(
        QUIET,
        data=replace(QUIET.data, evaluation=net.with_name("eval.npz")),
        recovery=replace(QUIET.recovery, repair=methods),
    )
    result = graphprune.prune(net, *CUT, out, options=options)
    plain = graphprune.prune(net, *CUT, options=replace(QUIET, recovery=replace(QUIET.recovery, repair=())))
    assert plain.model is not None
    assert result.model is not None
    wanted, cut = run(net, held_out), run(to_proto(plain.model), held_out)
    found = run(out, held_out)
    np.testing.assert_array_equal(found[0], run(to_proto(result.model), held_out)[0])
    assert result.evaluation is not None
    if methods:
        assert spread(found, wanted) < 0.8 * spread(cut, wanted)
        assert result.repair is not None
        assert result.repair.kept
        assert result.unrepaired is not None
        assert result.unrepaired.after <= result.evaluation.after
        assert result.unrepaired.before == result.evaluation.before
    else:
        np.testing.assert_array_equal(found[0], cut[0])
        assert (result.repair, result.unrepaired) == (None, None)
    assert onnx.load(out).graph.node == to_proto(plain.model).graph.node


def test_plan_remembers_and_apply_repeats(
    net: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {name: net.with_name(f"{name}.onnx") for name in ("direct", "replayed", "plain", "other", "synthetic")}
    plan = net.with_name("plan.json")
    assert command(monkeypatch, *words(net, "--repair", "ridge", "-o", files["direct"], "--plan-out", plan)) == 0
    assert json.loads(plan.read_text())["repair"] == ["ridge"]
    assert Plan.load(plan).repair == ("ridge",)
    rest = ["--data", net.with_name("calib.npz"), "--no-bench", "--threads", 1, "--batch-size", 8]
    assert command(monkeypatch, "apply", net, plan, *rest, "-o", files["replayed"]) == 0
    assert digest(files["direct"]) == digest(files["replayed"])
    assert command(monkeypatch, "apply", net, plan, *rest, "-o", files["plain"], "--repair", "none") == 0
    assert command(monkeypatch, *words(net, "--repair", "none", "-o", files["other"])) == 0
    assert digest(files["plain"]) == digest(files["other"]) != digest(files["direct"])
    blind = ["apply", net, plan, "--no-bench", "-o", files["synthetic"]]
    assert command(monkeypatch, *blind) == 1
    assert "the plan has a repair (ridge)" in capsys.readouterr().err
    assert not files["synthetic"].exists()
    assert command(monkeypatch, *blind, "--repair", "none") == 0
    old, new = (initialisers(onnx.load(files[name])) for name in ("plain", "synthetic"))
    assert all(np.array_equal(old[name], new[name]) for name in old)


def test_plan_without_a_repair_is_applied_without(net: Path) -> None:
    """An older plan says nothing of repairs, one made with none says so: both give the plain cut again."""
    plan = graphprune.prune(
        net, *CUT, dry_run=True, options=replace(QUIET, recovery=replace(QUIET.recovery, repair=()))
    ).plan
    path = net.with_name("plan.json")
    content = json.loads(plan.to_json())
    assert content["repair"] == []
    del content["repair"]
    path.write_text(json.dumps(content))
    assert Plan.load(path) == plan
    assert graphprune.apply(net, path, DATA, options=QUIET).repair is None
    other = graphprune.apply(
        net, path, DATA, options=replace(QUIET, recovery=replace(QUIET.recovery, repair=("stats",)))
    ).repair
    assert other is not None
    assert other.methods == ("stats",)


@pytest.mark.parametrize("repair", [["magic"], [1], "ridge2"])
def test_plan_with_a_repair_that_does_not_exist(net: Path, repair: object) -> None:
    content = json.loads(graphprune.prune(net, *CUT, dry_run=True, options=QUIET).plan.to_json())
    path = net.with_name("plan.json")
    path.write_text(json.dumps(content | {"repair": repair}))
    with pytest.raises(graphprune.GraphpruneError):
        graphprune.apply(net, path, DATA, options=QUIET)


@pytest.mark.parametrize("text", ["magic", "", "ridge,magic", "none,ridge"])
def test_words_that_mean_nothing(
    net: Path, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = net.with_name("out.onnx")
    assert command(monkeypatch, *words(net, "--repair", text, "-o", out)) == 2
    told = capsys.readouterr()
    assert "is no repair" in told.err
    assert "stats, ridge" in " ".join(told.err.split())
    assert not told.out
    assert not out.exists()


def test_made_up_samples_end_with_code_one(
    net: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = net.with_name("out.onnx")
    line = [net, "--pass", "filter-magnitude", "--target", "flops=0.6", "--no-bench", "-o", out]
    assert command(monkeypatch, *line, "--repair", "stats") == 1
    assert "there are none" in capsys.readouterr().err
    assert not out.exists()
    assert command(monkeypatch, *line, "--repair", "none") == 0


def test_json_has_the_layers(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = net.with_name("report.json")
    line = words(net, "-o", net.with_name("out.onnx"), "--json", report, "--eval", net.with_name("eval.npz"))
    assert command(monkeypatch, *line) == 0
    told = json.loads(report.read_text(), parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
    assert_published(told)
    assert told["repair"]["methods"] == ["stats", "ridge"]
    assert told["repair"]["samples"] == 32
    assert {tuple(layer) for layer in told["repair"]["layers"]} == {
        ("layer", "method", "before", "after", "is_kept", "note")
    }
    assert [layer["layer"] for layer in told["repair"]["layers"] if layer["method"] == "ridge"][-1] == "head"
    assert told["unrepaired"]["kind"] == told["evaluation"]["kind"]
    assert told["plan"]["repair"] == ["stats", "ridge"]


@pytest.mark.parametrize("verbose", [False, True])
def test_terminal_fits_eighty_columns(
    net: Path, verbose: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(net.parent)
    line = words(Path("net.onnx"), "-o", "out.onnx", "--eval", "eval.npz", *(["-v"] if verbose else []))
    assert command(monkeypatch, *line) == 0
    out = capsys.readouterr().out
    assert all(len(row) <= 80 for row in out.splitlines())
    flat = " ".join(out.split())
    for method in ("stats", "ridge"):
        assert re.search(rf"repaired \d of \d layers .*{method}.* held-out error [\d.]+ -> [\d.]+", flat)
    assert "before repair" in flat
    assert ("error before" in flat) == verbose
    assert (flat.count("penalty") > 3) == verbose


def test_dry_run_repairs_nothing_but_says_what_would_be(net: Path) -> None:
    result = graphprune.prune(net, *CUT, dry_run=True, options=QUIET)
    assert (result.repair, result.plan.repair) == (None, DEFAULT)


def test_a_repair_that_breaks_the_network_leaves_no_file(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last check is on the file as it will stand."""
    honest = stage.repair

    def spoilt(original: Model, *rest: object) -> object:
        fixed, report = honest(original, *rest)  # type: ignore[arg-type]
        last = fixed.graph.nodes[-1]
        last.inputs[1] = last.inputs[1].copy()
        last.inputs[1].values = np.full(last.inputs[1].shape, np.nan, np.float32)
        return fixed, report

    monkeypatch.setattr(rounds, "repair", spoilt)
    out = net.with_name("out.onnx")
    with pytest.raises(ValidationFailed, match="after its repair"):
        graphprune.prune(net, *CUT, out, options=QUIET)
    assert not out.exists()
    assert not list(net.parent.glob(".graphprune*"))


@pytest.mark.parametrize("methods", [(), DEFAULT])
def test_external_weights(tmp_path: Path, methods: tuple[Method, ...]) -> None:
    """Two large matrices lie outside, and both are refitted: whatever is written, all of it is needed and found."""
    proto = residual_mlp(2, width=32)
    outside = residual_mlp(2, width=32)  # saving changes it
    onnx.save(outside, tmp_path / "net.onnx", save_as_external_data=True, location="weights.bin", size_threshold=1024)
    plan = graphprune.prune(
        tmp_path / "net.onnx", ["layer-cka{floor=0}"], random_feeds(proto, 64), "removed=1", dry_run=True, options=QUIET
    ).plan
    out = tmp_path / "out.onnx"
    block = replace(plan.blocks[0], name="join0", join="join0", entry="h0", exit="h1")
    plan = replace(plan, decisions=(replace(plan.decisions[0], blocks=(block,)),))
    result = graphprune.apply(
        tmp_path / "net.onnx",
        plan,
        random_feeds(proto, 64),
        out,
        options=replace(QUIET, recovery=replace(QUIET.recovery, repair=methods)),
    )
    assert result.model is not None
    feeds = random_feeds(proto, 8, seed=3)
    if methods:
        assert result.repair is not None
        assert {layer.layer for layer in result.repair.layers if layer.is_kept} == {"first1", "second1", "head"}
        found, wanted = run(out, feeds), run(proto, feeds)
        assert spread(found, wanted) < 1
    held = onnx.load(out, load_external_data=False).graph.initializer
    files = {entry.value for tensor in held for entry in tensor.external_data if entry.key == "location"}
    assert {file.name for file in tmp_path.iterdir()} == {"net.onnx", "weights.bin", "out.onnx", *files}
    assert result.after.bytes == sum((tmp_path / name).stat().st_size for name in ("out.onnx", *files))


def test_nothing_removed_nothing_repaired(net: Path) -> None:
    plan = graphprune.prune(net, *CUT, dry_run=True, options=QUIET).plan
    empty = replace(plan, decisions=())
    assert graphprune.apply(net, empty, DATA, options=QUIET).repair is None
