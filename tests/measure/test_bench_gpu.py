"""tools/figures/bench_gpu.py, tried on the CPU with networks of a few numbers: what it writes,
skips and goes on with.
"""

from __future__ import annotations

import bz2
import contextlib
import importlib.util
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.graphs import residual_mlp, run


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_gpu", ROOT / "tools" / "figures" / "bench_gpu.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_gpu"] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path: Path, tool: ModuleType) -> Path:
    """Two "networks", of which one misses a version and one its original."""
    manifest: dict[str, Any] = {}
    for network in ("resnet32", "vit_tiny"):
        manifest[network] = {}
        for version, blocks in (("original", 3), ("blocks", 1), ("filters", 2)):
            name = f"{network}-{version}"
            manifest[network][version] = {"file": f"{name}.onnx.bz2", "inputs": {"x": [4]}}
            if name in ("resnet32-filters", "vit_tiny-original"):
                continue
            proto = residual_mlp(blocks)
            (tmp_path / f"{name}.onnx.bz2").write_bytes(bz2.compress(proto.SerializeToString()))
            np.savez(tmp_path / f"{name}.npz", *run(proto, tool.inputs({"x": [4]}, 4)))
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path


def start(tool: ModuleType, monkeypatch: pytest.MonkeyPatch, folder: Path, *words: str) -> dict[str, Any]:
    out = folder / "out.json"
    line = ["bench_gpu.py", "--run", folder, "--json", out, "--device", "cpu", "--seconds", "0", *words]
    monkeypatch.setattr(sys, "argv", [str(word) for word in line])
    tool.main()
    content: dict[str, Any] = json.loads(out.read_text())
    return content


def test_cases_are_timed_checked_and_kept(
    tool: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = start(tool, monkeypatch, folder, "--only", "ort:cpu")
    assert list(content["cases"]) == ["ort:cpu fp32 resnet32 1"]
    case = content["cases"]["ort:cpu fp32 resnet32 1"]
    assert list(case["versions"]) == ["blocks"]
    row = case["versions"]["blocks"]
    assert row["error"] < 1e-6
    low, high = row["end_to_end"]["interval"]
    assert low <= row["end_to_end"]["ratio"] <= high
    assert case["environment"]["threads"] == 1
    assert content["machine"]["versions"]["onnx"]
    assert content["missing"] == {
        "resnet32-filters.onnx.bz2": "not in the folder",
        "vit_tiny-original.onnx.bz2": "not in the folder",
    }
    monkeypatch.setattr(sys, "argv", ["bench_gpu.py", "--table", str(folder / "out.json")])
    capsys.readouterr()
    tool.main()
    assert "| ort:cpu | fp32 | resnet32 | 1 | blocks |" in capsys.readouterr().out


def test_a_second_run_goes_on(tool: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = start(tool, monkeypatch, folder, "--only", "ort:cpu")
    again = start(tool, monkeypatch, folder, "--only", "ort:cpu")
    key = "ort:cpu fp32 resnet32 1"
    assert again["cases"][key] == first["cases"][key]


def test_a_case_that_fails_is_kept_with_its_error(
    tool: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "resnet32-blocks.onnx.bz2").write_bytes(bz2.compress(b"no model"))
    content = start(tool, monkeypatch, folder, "--only", "ort:cpu")
    assert content["cases"]["ort:cpu fp32 resnet32 1"]["error"].startswith("ModelError: ")


def test_a_case_that_takes_too_long_is_broken_off(
    tool: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first alarm may be lost: Python drops what is raised inside a destructor."""

    def slowly(run: Callable[[], object], *_: object, **settings: object) -> None:
        ends = time.monotonic() + 20
        with contextlib.suppress(Exception):
            while time.monotonic() < ends:
                run()
        while time.monotonic() < ends:
            run()

    monkeypatch.setattr(tool, "compare", slowly)
    content = start(tool, monkeypatch, folder, "--only", "ort:cpu", "--case-seconds", "1")
    assert "too long" in content["cases"]["ort:cpu fp32 resnet32 1"]["error"]


def test_a_runtime_that_is_not_here_is_a_finding(
    tool: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool, "cases", lambda device: [tool.Case("ort:openvino", "fp32", "resnet32", 1)] * 2)
    content = start(tool, monkeypatch, folder)
    assert content["cases"] == {}
    assert "OpenVINOExecutionProvider is not in" in content["missing"]["ort:openvino"]


def test_time_that_has_run_out_ends_it(tool: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert start(tool, monkeypatch, folder, "--minutes", "0")["cases"] == {}


def test_no_case_comes_twice_and_only_torch_changes_the_types(tool: ModuleType) -> None:
    cases = list(tool.cases("cuda"))
    assert len({case.key for case in cases}) == len(cases)
    assert {case.precision for case in cases if not case.runtime.startswith("torch")} == {"fp32"}
    assert {case.batch for case in cases} == {1, 32, 256}
    assert {case.runtime for case in cases} >= {
        "tensorrt:cuda",
        "ort:trt",
        "torch-compile-cudagraph:cuda",
        "torch:cuda",
    }
