"""--report as a user meets it: written with the model or not at all, refused before the work where it cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import graphprune
from graphprune.base import extras
from graphprune.errors import InputError, RuntimeMissing, ValidationFailed
from graphprune.pipeline import sequence
from tests.command import command as run
from tests.graphs import residual_mlp
from tests.report.html_page import Page

pytest.importorskip("jinja2", reason="the report needs the extra 'report'")
pytest.importorskip("matplotlib", reason="the report needs the extra 'report'")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "my model.onnx"
    onnx.save(residual_mlp(4), path)
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).standard_normal((24, 4)).astype(np.float32))
    return path


def words(model: Path, *more: object) -> list[object]:
    return [
        model,
        "--pass",
        "layer-cka",
        "--target",
        "removed=1",
        "--data",
        model.parent / "data.npz",
        "--duration",
        "0.05",
        "--allow-slower",
        "-o",
        model.parent / "small.onnx",
        *more,
    ]


def test_report_is_written_with_the_model(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report, result = model.parent / "report.html", model.parent / "result.json"
    assert run(monkeypatch, *words(model, "--report", report, "--json", result)) == 0
    page = Page(report.read_text())
    assert page.embedded == json.loads(result.read_text())
    assert f"wrote {report}" in capsys.readouterr().out.replace("\n", "")
    assert f"graphprune '{model}' --pass layer-cka" in page.sections["reproduce"]
    assert "--seed 0" in page.sections["reproduce"]
    assert {path.name for path in model.parent.iterdir()} == {
        "my model.onnx",
        "data.npz",
        "small.onnx",
        "report.html",
        "result.json",
    }


def test_dry_run_reports_without_timing(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = model.parent / "report.html"
    assert run(monkeypatch, *words(model, "--report", report, "--dry-run", "--seed", 3)) == 0
    page = Page(report.read_text())
    assert not (model.parent / "small.onnx").exists()
    assert "latency" not in page.sections and "nothing was timed" in page.sections["network"]
    assert page.sections["reproduce"].count("--seed") == 1


def test_apply_reports_too(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, report = model.parent / "plan.json", model.parent / "report.html"
    assert run(monkeypatch, *words(model, "--plan-out", plan, "--dry-run")) == 0
    assert run(monkeypatch, "apply", model, plan, "--report", report, "--no-bench", "--repair", "none") == 0
    page = Page(report.read_text())
    assert "graphprune apply" in page.sections["reproduce"]
    assert "removed as number 1" in page.sections["blocks"]


def test_the_python_call_is_one(model: Path, tmp_path: Path) -> None:
    options = graphprune.RunOptions(
        data=graphprune.DataOptions(samples=20),
        timing=graphprune.TimingOptions(measure_latency=False),
        report=tmp_path / "r.html",
    )
    graphprune.prune(model, ["layer-cka{floor=1}"], str(tmp_path / "data.npz"), "removed=1", options=options)
    first = Page((tmp_path / "r.html").read_text())
    code = first.sections["reproduce"].partition("import graphprune")[2]
    (tmp_path / "r.html").unlink()
    exec(compile(f"import graphprune{code}", "report", "exec"), {})
    again = Page((tmp_path / "r.html").read_text())
    assert again.embedded["plan"] == first.embedded["plan"]


@pytest.mark.parametrize(
    ("report", "says"),
    [
        ("small.onnx", "both name"),
        ("my model.onnx", "input file itself"),
        ("data.npz", "input file itself"),
        ("nowhere/r.html", "does not exist"),
        (".", "is a folder"),
    ],
)
def test_paths_that_cannot_be_are_refused(
    report: str, says: str, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in model.parent.iterdir()}
    assert run(monkeypatch, *words(model, "--report", model.parent / report)) == 1
    assert says in capsys.readouterr().err
    assert {path: path.read_bytes() for path in model.parent.iterdir()} == before


def test_python_refuses_such_paths_too(model: Path, tmp_path: Path) -> None:
    for report in (tmp_path / "small.onnx", model):
        with pytest.raises(InputError):
            options = graphprune.RunOptions(report=report)
            graphprune.prune(model, ["layer-cka"], None, "removed=1", tmp_path / "small.onnx", options=options)


@pytest.mark.parametrize(("module", "name"), [("jinja2", "Jinja2"), ("matplotlib", "Matplotlib")])
def test_without_the_extra_nothing_begins(
    module: str, name: str, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> None:
        extras._extra(f"{module}_that_is_not_there", name, "report")

    monkeypatch.setattr(extras, module, missing)
    monkeypatch.setattr(sequence, "prepare", lambda *given: pytest.fail("the work began"))
    assert run(monkeypatch, *words(model, "--report", model.parent / "r.html")) == RuntimeMissing.exit_code
    assert f"{name} cannot be imported" in capsys.readouterr().err
    assert not (model.parent / "small.onnx").exists()


def test_a_run_that_fails_leaves_no_report(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = model.parent / "report.html"
    report.write_text("the one before")

    def fail(*given: object) -> None:
        raise InputError("the disk is full")

    monkeypatch.setattr("graphprune.cli.show.Shown.save", fail)  # after the report, before the model
    assert run(monkeypatch, *words(model, "--report", report)) == 1
    assert report.read_text() == "the one before"
    monkeypatch.setattr(
        "graphprune.pipeline.rounds.validate", lambda *given: (_ for _ in ()).throw(ValidationFailed("wrong"))
    )
    assert run(monkeypatch, *words(model, "--report", report)) == 5
    assert {path.name for path in model.parent.iterdir()} == {"my model.onnx", "data.npz", "report.html"}


def test_a_report_that_cannot_be_drawn_leaves_no_model(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("graphprune.report.evidence.html_report.render", fail)
    assert run(monkeypatch, *words(model, "--report", model.parent / "report.html")) == 1
    assert {path.name for path in model.parent.iterdir()} == {"my model.onnx", "data.npz"}
