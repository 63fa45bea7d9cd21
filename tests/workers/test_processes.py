"""Scoring in several processes of this machine gives the bytes of the serial run, whatever happens to the processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from graphprune.errors import OptionError, RuntimeMissing
from graphprune.workers import Workers, base, hired
from tests.command import command
from tests.workers.scoring import pruned, written
from tests.workers.work import die_elsewhere, die_once, double, fail


@pytest.fixture(scope="module")
def two() -> Iterator[Workers]:
    """Two processes that several tests share; none of these may kill one."""
    with hired(2) as workers:
        assert workers is not None
        yield workers


@pytest.mark.slow
@pytest.mark.parametrize("each", ["layer-cka", "layer-consensus"])
def test_two_processes_write_the_bytes_of_one(each: str, tmp_path: Path) -> None:
    serial = written(lambda path: pruned(path, each=each), tmp_path, "serial")
    assert written(lambda path: pruned(path, jobs=2, threads=2, each=each), tmp_path, "two") == serial


def test_no_worker_means_this_process() -> None:
    with hired(None) as nobody, hired(1) as alone:
        assert nobody is None
        assert alone is None


def test_a_killed_process_loses_nothing(tmp_path: Path) -> None:
    with hired(2) as workers:
        assert workers is not None
        assert workers.map(double, 3, [1, 2, 4]) == [3, 6, 12]
        assert workers.map(die_once, tmp_path / "flag", [1, 2, 3]) == [1, 2, 3]
        assert (tmp_path / "flag").exists()
        (note,) = workers.notes
        assert "a worker process died" in note
        assert "nothing is lost" in note


def test_what_always_dies_elsewhere_is_done_here() -> None:
    with hired(2) as workers:
        assert workers is not None
        assert workers.map(die_elsewhere, os.getpid(), [1, 2]) == [1, 2]
        assert workers.map(double, 2, [5]) == [10]  # and others get their chance again


def test_an_error_of_the_work_comes_as_it_is(two: Workers) -> None:
    with pytest.raises(OptionError, match="this 1") as caught:
        two.map(fail, "this", [1, 2])
    assert caught.value.fix == "mend it"
    assert "at a worker on" in caught.value.__notes__[0]


def test_other_versions_are_refused(two: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = two._facts
    older = tuple((name, "0.0.1" if name == "graphprune" else version) for name, version in mine.versions)
    monkeypatch.setattr(two, "_facts", replace(mine, versions=older))
    with pytest.raises(RuntimeMissing, match=r"has graphprune .*, this process 0\.0\.1") as caught:
        two.map(double, 3, [1, 2])
    assert caught.value.fix == "run on the workers: pip install 'graphprune==0.0.1'"


def test_another_processor_is_said(two: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not two.notes
    monkeypatch.setattr(two, "_facts", replace(two._facts, processor="Abacus 3000"))
    monkeypatch.setattr(two, "notes", {})
    assert two.map(double, 3, [1, 2]) == [3, 6]
    (note,) = two.notes
    assert "here Abacus 3000" in note
    assert "in the last digits" in note


def test_a_worker_without_the_code_is_told_from_a_fault(two: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacks(calls: Any) -> list[base.Answer]:
        raise ModuleNotFoundError("No module named 'graphprune'")

    monkeypatch.setattr(two, "_send", lacks)
    with pytest.raises(RuntimeMissing, match="a worker cannot load graphprune as it is here") as caught:
        two.map(double, 3, [1])
    assert "pip install 'graphprune[cpu]==" in caught.value.fix


MISUSE = [
    (["--jobs", "0"], 2, "'0' is neither a whole number of at least 1 nor -1"),
    (["--jobs", "two"], 2, "'two' is neither"),
    (["--backend", "spark"], 2, "'spark' is not one of 'dask', 'ray'"),
    (["--cluster", "tcp://h:1"], 1, "cluster 'tcp://h:1' without a backend"),
    (["--backend", "dask"], 1, "no Dask cluster is named"),
    (["--backend", "ray"], 1, "no Ray cluster is named"),
]


@pytest.mark.parametrize(("words", "code", "says"), MISUSE, ids=[" ".join(words) for words, _, _ in MISUSE])
def test_misuse(
    words: list[str],
    code: int,
    says: str,
    shipped: Path,
    calibration: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("DASK_SCHEDULER_ADDRESS", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    package = {"dask": "distributed", "ray": "ray"}.get(words[1])
    if package is not None:
        pytest.importorskip(package, reason=f"{package} is not installed")
    out = tmp_path / "out.onnx"
    run = ("prune", shipped, "--pass", "layer-cka", "--data", calibration, "--num-samples", "8", "-o", out)
    assert command(monkeypatch, *run, *words) == code
    assert says in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("backend", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_a_missing_package_says_what_to_install(
    backend: str, package: str, shipped: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    words = ("prune", shipped, "--pass", "layer-cka", "--dry-run", "--backend", backend, "--cluster", "h:1")
    assert command(monkeypatch, *words) == 6
    assert f"pip install 'graphprune[{backend}]'" in capsys.readouterr().err


@pytest.mark.parametrize(("options", "says"), [({"jobs": 0}, "0 is no number"), ({"jobs": -2}, "-2 is no number")])
def test_impossible_options(options: dict[str, int], says: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=says):
        pruned(tmp_path / "out.onnx", jobs=options["jobs"])
