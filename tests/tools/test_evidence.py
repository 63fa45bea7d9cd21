"""tools/figures/evidence.py in small: the rule of the verdicts, rows that are not done again, and the page."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from graphprune import passes as registry
from graphprune.pass_infra.base import parse_spec
from graphprune.training import TrainOptions
from tests.conftest import ROOT

FOLDER = str(ROOT / "tools" / "figures")


@pytest.fixture(scope="module")
def tool() -> Iterator[Callable[[str], Any]]:
    """The modules of the tool by name; scripts find each other in their own folder."""
    sys.path.insert(0, FOLDER)
    yield import_module
    sys.path.remove(FOLDER)


def test_a_verdict_needs_an_interval_on_one_side(tool: Callable[[str], Any]) -> None:
    judged = tool("evidence_claims").judged
    assert judged([5.0]) == "too small to say"
    assert judged([5.0, -4.0, 1.0]) == "too small to say"
    assert judged([1.0, 1.1, 0.9]) == "reproduced"
    assert judged([-1.0, -1.1, -0.9]) == "contradicted"
    assert judged([-1.0, -1.1, -0.9], sign=-1) == "reproduced"


def test_kinds_are_compared_seed_by_seed(tool: Callable[[str], Any]) -> None:
    rows = [
        {"seed": 0, "kind": "a", "top1": 0.5},
        {"seed": 0, "kind": "b", "top1": 0.4},
        {"seed": 1, "kind": "a", "top1": 0.7},
    ]
    found = tool("evidence_claims").paired(rows, lambda row: row["kind"] == "a", lambda row: row["kind"] == "b")
    assert found == [pytest.approx(10.0)]


def test_the_page_has_what_was_run_and_no_more(
    tool: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tool("evidence_claims"), "_sensors", lambda _: [])
    rows: list[dict[str, Any]] = [{"size": "small", "kind": "layers snip", "removed": 5, "seed": 2, "unfinished": "no"}]
    for seed, tops in enumerate(((0.8, 0.83), (0.81, 0.85), (0.79, 0.81))):
        for removed, (kind, top1) in zip((0, 5), zip(("dense", "layers grasp"), tops, strict=True), strict=True):
            about = {"size": "small", "kind": kind, "removed": removed, "seed": seed, "gone": []}
            rows.append(about | {"macs_left": 1 - removed / 20, "seconds": 10.0 - removed, "top1": top1})
    (tmp_path / "tickets.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = tool("evidence_page").page(tmp_path)
    (line,) = (line for line in page.splitlines() if line.startswith("| GraSP tickets without 5 blocks"))
    assert "+3.0 ± 1.7 points (3 seeds)" in line and line.endswith("| reproduced |")
    assert "2.00 times (3 seeds)" in page
    assert "| layers grasp | 5 | 75.0 % | 83.0 ± 3.4 | +3.0 ± 1.7 points (3 seeds) | 50 % |" in page
    assert "not run" not in page.replace("for a GPU; not run", "")
    assert "## Tickets" in page and "## Growth" not in page and "## Streams" not in page


def test_rows_that_are_there_are_not_done_again(
    tool: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    evidence = tool("evidence")
    asked: list[str] = []

    def answer(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command[-1])
        return subprocess.CompletedProcess(command, 0, 'noise\n{"top1": 0.5}\n')

    monkeypatch.setattr(evidence.subprocess, "run", answer)
    monkeypatch.setattr(sys, "argv", ["evidence.py", "growth", "--work", str(tmp_path), "--seeds", "0", "2"])
    evidence.main()
    assert [json.loads(task) for task in asked] == [{"seed": 0}, {"seed": 2}]
    evidence.main()
    assert len(asked) == 2
    lines = (tmp_path / "growth.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"size": "small", "seed": seed, "top1": 0.5} for seed in (0, 2)]


@pytest.mark.slow
@pytest.mark.parametrize("size", ["small", "paper"])
def test_what_a_larger_machine_runs_is_configured(
    tool: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    size: str,
) -> None:
    """One command tells a task for each experiment, and nothing is run; networks and options can be made of it."""
    evidence, sizes = tool("evidence"), tool("evidence_size").SIZES[size]
    monkeypatch.setattr(evidence.subprocess, "run", lambda *_, **__: pytest.fail("nothing is to be run"))
    monkeypatch.setattr(tool("evidence_sensors"), "windows", lambda *_: ((), (), range(4)))
    monkeypatch.setattr(sys, "argv", ["evidence.py", "--work", str(tmp_path), "--size", size, "--dry-run"])
    evidence.main()
    told = [line.split(" ", 1) for line in capsys.readouterr().out.splitlines()]
    assert {json.loads(task)["size"] for _, task in told} == {size}
    expected = set(evidence.EXPERIMENTS) - ({"amp"} if size == "small" else set())
    assert {name for name, _ in told} == expected
    methods = {json.loads(task)["method"] for name, task in told if name == "joint"}
    for method in methods - {"trained"}:
        parse_spec(tool("evidence_joint").SPECS[method], registry.find)
    epochs = TrainOptions.parse(sizes.training(1, sizes.after)).epochs
    assert (epochs, TrainOptions.parse(tool("evidence_amp").TRAINING).lora) == (sizes.after, 8)
    network = tool("evidence_networks").untrained((1, 1, 1), sizes)
    (image,) = network.graph.inputs
    assert image.shape[1:] == [1 if size == "small" else 3, sizes.pixels, sizes.pixels]
