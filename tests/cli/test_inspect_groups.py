"""``graphprune inspect --groups`` and ``--graph`` as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest

from graphprune.analysis.dataflow import DataFlow
from graphprune.analysis.groups import find_groups
from graphprune.axes.infer import infer
from graphprune.ir.loading import load
from graphprune.pipeline.inspect import _frozen_cost
from graphprune.run.loaded import prepare
from graphprune.run.options import RunOptions
from tests.command import command as run
from tests.digests import digest
from tests.graphs import build, residual_mlp
from tests.schemas import assert_published


def save(proto: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    onnx.save(proto, path)
    return path


def test_lists_every_group_in_80_columns(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "groups.json"
    monkeypatch.setenv("COLUMNS", "80")
    assert run(monkeypatch, "inspect", shipped, "--groups", "--json", report) == 0
    printed = capsys.readouterr().out
    assert "18 of 19 groups can shrink: filters 15/15, width 3/3, neurons 0/1" in printed
    assert max(map(len, printed.splitlines())) <= 80
    content = json.loads(report.read_text())
    assert_published(content)
    assert content["schema"] == "graphprune.groups/1"
    assert content["cost"]["macs"] == 52_697_984
    model = load(shipped)
    assert [row["name"] for row in content["groups"]] == [g.name for g in find_groups(model, infer(model))]
    assert all(row["name"] in printed for row in content["groups"])
    last = content["groups"][-1]
    assert (last["prunable"], last["reason"], last["node"]) == (False, "it is an axis of a model output", "logits")
    assert (last["macs"], last["params"], last["unit_macs"]) == (640, 650, None)


def test_macs_and_parameters_are_those_of_the_layers_that_have_the_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hidden layer carries both of its matrices; the stream, of width 8 in, out and in between,
    every matrix there is.
    """
    report, blocks = tmp_path / "groups.json", 3
    path = save(residual_mlp(blocks), tmp_path)
    assert run(monkeypatch, "inspect", path, "--groups", "--json", report, "-q") == 0
    rows = {row["name"]: row for row in json.loads(report.read_text())["groups"]}
    weights = 4 * 8 + blocks * 2 * 8 * 16 + 8 * 3
    stream, hidden, output = rows["stem/width"], rows["first1/neurons"], rows["head/neurons"]
    assert (stream["macs"], stream["params"]) == (weights, weights)
    assert (stream["unit_macs"], stream["unit_params"]) == (weights // 8, weights // 8)
    assert (hidden["macs"], hidden["params"], hidden["unit_macs"]) == (2 * 8 * 16, 2 * 8 * 16, 2 * 8)
    assert (output["macs"], output["params"], output["unit_params"]) == (8 * 3, 8 * 3, None)


def test_verbose_names_writers_and_readers_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    proto = residual_mlp(2)
    long = "a/very/long/name/" * 8
    proto.graph.node[1].name = long
    path = save(proto, tmp_path)
    assert run(monkeypatch, "inspect", path, "--groups", "-v") == 0
    printed = capsys.readouterr().out
    assert long in printed.replace("\n", "").replace(" ", "")
    assert "written by  stem, second0, second1" in printed
    assert "read by     second0" in printed
    assert run(monkeypatch, "inspect", path, "--groups") == 0
    printed = capsys.readouterr().out
    assert "a/ver…" in printed
    assert "written by" not in printed
    assert max(map(len, printed.splitlines()[1:])) <= 80  # the first is the path


def test_units_of_many_channels_are_shown_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The column is there where a unit is more than one channel, and only there."""
    monkeypatch.setenv("COLUMNS", "80")
    path = save(residual_mlp(2), tmp_path)
    assert run(monkeypatch, "inspect", path, "--groups") == 0
    plain = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["group", "units", "MACs", "params", "MACs", "params"] in plain
    stages = build(
        "(float[N,6,8,8] x) => (float[N,5,7,7] y) "
        "{ [down] a = Conv<group=6>(x, w1) [mix] h = Conv(a, w2) [last] y = Conv(h, w3) }",
        {"w1": (12, 1, 2, 2), "w2": (4, 12, 1, 1), "w3": (5, 4, 1, 1)},
    )
    assert run(monkeypatch, "inspect", save(stages, tmp_path), "--groups", "--json", tmp_path / "found.json") == 0
    lines = capsys.readouterr().out.splitlines()
    assert next(line.split()[:2] for line in lines if "unit's" in line) == ["unit's", "unit's"]
    assert next(line.split()[:3] for line in lines if line.startswith("group")) == ["group", "units", "channels"]
    rows = {line.split()[0]: line.split()[1:3] for line in lines if line.startswith(("down", "mix"))}
    assert rows == {"down/filters.2": ["2", "6"], "mix/filters": ["4", "1"]}
    found = json.loads((tmp_path / "found.json").read_text())
    assert {row["name"]: row["unit_channels"] for row in found["groups"]} == {
        "down/filters.1": 2,
        "down/filters.2": 6,
        "mix/filters": 1,
        "last/filters": 1,
    }


def test_names_that_would_look_alike_are_not_shortened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    proto = residual_mlp(2)
    for index, name in ((1, "model.one"), (5, "model.two")):
        proto.graph.node[index].name = name + ".and_the_same_long_end" * 3
    assert run(monkeypatch, "inspect", save(proto, tmp_path), "--groups") == 0
    printed = capsys.readouterr().out
    assert "model.one" in printed
    assert "model.two" in printed


def test_what_cannot_shrink_is_collected_by_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes, h, weights = [], "x", {}
    for i in range(5):
        weights[f"w{i}"] = (4, 4)
        nodes += [f"[layer{i}] a{i} = MatMul({h}, w{i}) [mix{i}] h{i} = Softmax<axis=-1>(a{i})"]
        h = f"h{i}"
    proto = build(f"(float[N,4] x) => (float[N,4] y) {{ {' '.join(nodes)} y = Tanh({h}) }}", weights)
    assert run(monkeypatch, "inspect", save(proto, tmp_path), "--groups") == 0
    printed = capsys.readouterr().out
    assert "0 of 5 groups can shrink: neurons 0/5" in printed
    assert printed.count("Softmax runs over it") == 1
    assert "layer2/neurons (4) at mix2" in printed
    assert "layer3" not in printed
    assert "and 2 more" in printed
    assert run(monkeypatch, "inspect", tmp_path / "model.onnx", "--groups", "-v") == 0
    assert "layer4/neurons (4) at mix4" in capsys.readouterr().out


def test_operators_without_a_rule_are_listed_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = (
        "[up] a = MatMul(x, w) [odd] b = CenterCropPad<axes=[0]>(a, n) [again] c = CenterCropPad<axes=[0]>(b, n) "
        "[down] y = MatMul(c, v)"
    )
    proto = build(
        f"(float[N,4] x) => (float[1,3] y) {{ {nodes} }}", {"w": (4, 6), "v": (6, 3), "n": np.array([1])}, opset=18
    )
    report = tmp_path / "groups.json"
    assert run(monkeypatch, "inspect", save(proto, tmp_path), "--groups", "--json", report) == 0
    missing = json.loads(report.read_text())["missing"]
    assert [(row["op"], row["node"]) for row in missing] == [("CenterCropPad", "odd"), ("CenterCropPad", "again")]
    assert all("frozen" in row["effect"] and "axis_rule" in row["fix"] for row in missing)
    printed = capsys.readouterr().out
    assert "up/neurons (6) at odd" in printed
    assert "CenterCropPad: no axis rule for CenterCropPad" in printed
    assert "next: register a rule, see docs/extending/axis_rule.md" in printed


def test_json_on_stdout_is_all_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "inspect", save(residual_mlp(1), tmp_path), "--groups", "--json", "-") == 0
    printed = capsys.readouterr()
    assert len(json.loads(printed.out)["groups"]) == 3
    assert "3 groups can shrink" in printed.err


def test_graph_writes_a_picture(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "groups.svg"
    picture.write_text("an older one")
    assert run(monkeypatch, "inspect", shipped, "--graph", picture) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "18 of 19 groups can shrink" in printed
    assert f"wrote {picture}" in printed
    root = ElementTree.parse(picture).getroot()
    drawn = [element.get("class") or "" for element in root.iter() if (element.get("class") or "").startswith("group ")]
    assert len(drawn) == 19
    assert [path.name for path in tmp_path.iterdir()] == ["groups.svg"]


def test_graph_refuses_what_is_not_svg(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "inspect", shipped, "--graph", tmp_path / "groups.png") == 2
    assert "does not end in .svg" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_graph_refuses_the_input_and_places_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save(residual_mlp(1), tmp_path).rename(tmp_path / "model.svg")  # a strange name, but nothing forbids it
    before = digest(model)
    assert run(monkeypatch, "inspect", model, "--graph", model) == 1
    assert "is the input file itself" in capsys.readouterr().err
    assert run(monkeypatch, "inspect", model, "--graph", tmp_path / "absent" / "g.svg") == 1
    assert "does not exist" in capsys.readouterr().err
    assert run(monkeypatch, "inspect", model, "--graph", tmp_path / "g.svg", "--json", tmp_path / "g.svg") == 1
    assert "both name" in capsys.readouterr().err
    assert digest(model) == before
    assert [path.name for path in tmp_path.iterdir()] == ["model.svg"]


def test_a_picture_that_cannot_be_finished_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "groups.svg"
    picture.write_text("an older one")

    def full(path: Path, text: str, **_: object) -> None:
        path.write_bytes(text[:9].encode())
        raise OSError(28, "No space left on device")

    model = save(residual_mlp(1), tmp_path)
    monkeypatch.setattr(Path, "write_text", full)
    assert run(monkeypatch, "inspect", model, "--graph", picture) == 1
    printed = capsys.readouterr().err
    assert "No space left" in printed
    assert "choose another --graph" in printed
    assert picture.read_text() == "an older one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["groups.svg", "model.onnx"]


def test_a_frozen_groups_cost_agrees_with_the_exact_one(tmp_path: Path) -> None:
    """Where both can be had: the share of the weights along a group that can shrink, against TypedCost."""
    nodes = (
        "a = Conv(x, w1) b = Conv<pads=[1,1,1,1]>(x, w2) c = Concat<axis=1>(a, b) d = Conv(c, w3, bias) y = Conv(d, w4)"
    )
    weights = {"w1": (4, 3, 1, 1), "w2": (6, 3, 3, 3), "w3": (5, 10, 1, 1), "bias": (5,), "w4": (2, 5, 1, 1)}
    path = save(build(f"(float[N,3,8,8] x) => (float[N,2,8,8] y) {{ {nodes} }}", weights), tmp_path)
    analysis = prepare(path, None, RunOptions()).analysis
    cost, view = analysis.typed_cost(), DataFlow(analysis.model)
    free = [group for group in analysis.groups if group.is_prunable]
    assert [group.size for group in free] == [4, 6, 5]
    for group in free:
        assert _frozen_cost(group, view, analysis) == cost.saving(group.atom, 0)
