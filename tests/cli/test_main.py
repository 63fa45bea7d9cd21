"""The command line as a user meets it."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from graphprune.cli.main import cli
from tests.command import command as run
from tests.schemas import assert_published


def call(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "graphprune", *map(str, words)], capture_output=True, text=True, check=False
    )


def test_help_is_instant_and_lists_the_commands() -> None:
    times = []
    for _ in range(5):  # of the processor: a busy neighbour is no fault of ours
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = call("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert done.returncode == 0
    assert all(f"\n  {name} " in done.stdout for name in cli.commands)
    assert "Exit codes" in done.stdout and "...\n  " not in done.stdout
    assert min(times) < 0.3


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; sys.argv = ['graphprune', '--help']\nfrom graphprune.cli import main\nmain._run()\n"
    code += (
        "print(*(m for m in ('numpy', 'onnx', 'networkx', 'onnxruntime', 'rich') if m in sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""


def test_no_arguments_is_a_usage_error_with_help() -> None:
    done = call()
    assert done.returncode == 2
    assert "Usage" in done.stderr


@pytest.mark.parametrize(
    "words", [("--help",), ("prune", "--help"), ("apply", "-h"), ("inspect", "-h"), ("bench", "-h")]
)
def test_help_fits_80_columns(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(monkeypatch, *words) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import graphprune

    assert run(monkeypatch, "--version") == 0
    assert graphprune.__version__ in capsys.readouterr().out


@pytest.mark.slow
def test_options_may_come_first_and_use_underscores(
    shipped: Path, calibration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "s.onnx"
    words = ["--pass", "layer-cka", "--num_samples", "32", "--no_bench", "--target", "removed=1", "-o", out]
    assert run(monkeypatch, *words, "--data", calibration, shipped) == 0
    assert out.is_file()


def test_inspect_lists_every_join_with_reason_and_cost(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "inspection.json"
    monkeypatch.setenv("COLUMNS", "80")
    assert run(monkeypatch, "inspect", shipped, "--json", report) == 0
    printed = capsys.readouterr().out
    assert "52,697,984 MACs" in printed
    assert "15 joins, 13 removable" in " ".join(printed.split())
    assert max(map(len, printed.splitlines())) <= 80
    content = json.loads(report.read_text())
    assert content["schema"] == "graphprune.inspection/1"
    assert_published(content)
    rules = [join["rule"] for join in content["joins"]]
    assert rules.count("projection-shortcut") == 2
    assert rules.count("") == 13
    first = content["joins"][0]
    assert (first["name"], first["macs"], first["stage"]) == ("stages.0.0", 3_612_672, 0)
    assert len(first["nodes"]) == 5


def test_inspect_verbose_names_every_node(
    shipped: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import graphprune
    from graphprune.analysis.blocks import find_joins

    monkeypatch.setenv("COLUMNS", "200")
    assert run(monkeypatch, "inspect", shipped, "-v") == 0
    printed = capsys.readouterr().out
    block = find_joins(graphprune.load(shipped))[0].block
    assert block is not None
    assert all(node in printed for node in block.nodes)


def test_bench_compares_two_files(
    shipped: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    report = tmp_path / "bench.json"
    assert run(monkeypatch, "bench", shipped, shipped, "--duration", "0.1", "--threads", "1", "--json", report) == 0
    assert "interleaved pairs" in capsys.readouterr().out
    content = json.loads(report.read_text())
    assert content["schema"] == "graphprune.bench/2"
    assert_published(content)
    assert content["measurements"][0]["comparison"]["pairs"] >= 30


def test_passes_lists_options_and_papers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "passes", "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert_published(content)
    entry = next(e for e in content["passes"] if e["name"] == "layer-cka")
    assert "ICPR 2024" in entry["paper"]
    which = {"unit", "reference", "debiased", "most", "floor", "per", "skip_first", "exclude", "representation"}
    again = {"rescore", "judge", "shortlist", "samples", "refits"}
    assert which | again == {o["name"] for o in entry["options"]}
    monkeypatch.setenv("COLUMNS", "80")
    assert run(monkeypatch, "passes") == 0
    listed = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in listed if line[:1].strip()} >= {e["name"] for e in content["passes"]}
    assert len(listed) <= 3 * len(content["passes"]) and max(map(len, listed)) <= 80


def test_internal_error_is_one_sentence_and_code_70(
    shipped: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("graphprune.pipeline.prune.prune", broken)
    assert run(monkeypatch, shipped, "--pass", "layer-cka") == 70
    printed = capsys.readouterr()
    assert printed.err.startswith("graphprune: internal error: ZeroDivisionError: a bug")
    assert "Traceback" not in printed.err
    with pytest.raises(ZeroDivisionError):
        run(monkeypatch, shipped, "--pass", "layer-cka", "-v")


def test_interrupt_leaves_nothing(
    shipped: Path,
    calibration: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("graphprune.pipeline.rounds.validate", interrupted)
    words = ["--pass", "layer-cka", "--target", "removed=1", "--num-samples", "32", "--data", calibration]
    assert run(monkeypatch, shipped, *words, "-o", tmp_path / "s.onnx") == 130
    assert "nothing was written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
