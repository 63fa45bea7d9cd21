"""The doctor on machines that are described, not there; and on this one."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from graphprune.doctor import checks, system
from graphprune.doctor.checks import Diagnosis, Finding, examine
from graphprune.doctor.system import ThisMachine, extras_of, sonames
from tests.command import command
from tests.schemas import assert_published

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
H100: dict[str, Any] = {"gpu": "NVIDIA H100", "driver": "580.82", "sm_mhz": 1980.0, "max_sm_mhz": 1980.0}
CUDA_LIBRARIES = {"libcudart.so.13": "/x", "libcudnn.so.9": "/x", "libcublas.so.13": "/x"}
NEEDS = {CUDA: [*CUDA_LIBRARIES], TENSORRT: ["libnvinfer.so.10", "libnvonnxparser.so.10", "libcudart.so.13"]}


@dataclass
class Described:
    """A machine. ``providers`` are offered; ``fails`` gives the error of those that do not start,
    or of another probe.
    """

    packages: Mapping[str, str] = field(default_factory=dict)
    providers: tuple[str, ...] = (CPU,)
    fails: Mapping[str, str] = field(default_factory=dict)
    libraries: Mapping[str, str] = field(default_factory=dict)
    needs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    gpu: Mapping[str, Any] = field(default_factory=dict)
    extras: Mapping[str, Sequence[str]] = field(default_factory=dict)
    compiler: str = "/usr/bin/g++"
    torch: Mapping[str, Any] = field(default_factory=dict)
    tensorrt: str = "11.4.0"
    python: str = "3.12.1 on Linux x86_64"
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def probe(self, *what: str) -> dict[str, Any]:
        self.asked.append(what)
        if what[-1] in self.fails:
            return {"error": self.fails[what[-1]]}
        answers: dict[str, dict[str, Any]] = {
            "onnxruntime": {
                "version": "1.31.1",
                "providers": [*self.providers, "AzureExecutionProvider"],
                "file": "/f",
            },
            "start": {"is_right": True},
            "torch": dict(self.torch),
            "tensorrt": {"version": self.tensorrt},
        }
        return answers[what[0]]


def found(machine: Described, name: str, provider: str = "cpu") -> Finding:
    (finding,) = [finding for finding in examine(machine, provider).findings if finding.name == name]
    return finding


def test_nothing_installed() -> None:
    machine = Described(fails={"onnxruntime": "No module named 'onnxruntime'"})
    diagnosis = examine(machine)
    assert not diagnosis.starts
    assert found(machine, "ORT wheels") == Finding(
        "ORT wheels", "problem", "no ONNX Runtime is installed", "pip install 'graphprune[cpu]'"
    )
    assert {finding.name for finding in diagnosis.findings if finding.state == "absent"} == {
        "NVIDIA GPU",
        "torch",
        "TensorRT",
    }


def test_the_plain_one_works() -> None:
    diagnosis = examine(Described({"onnxruntime": "1.31.1"}))
    assert diagnosis.starts
    assert [finding for finding in diagnosis.findings if finding.state in ("warning", "problem")] == []


def test_two_wheels_overwrite_each_other() -> None:
    machine = Described({"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.31.1"}, gpu=H100)
    finding = found(machine, "ORT wheels")
    assert finding.state == "problem"
    assert "overwrite each other" in finding.detail
    assert finding.fix == "pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'graphprune[gpu]'"
    assert examine(machine).starts  # the one that won still runs on the CPU
    assert not examine(machine, "cuda").starts


def test_a_wheel_for_the_cpu_beside_a_gpu_is_pointed_out() -> None:
    finding = found(Described({"onnxruntime": "1.31.1"}, gpu=H100), "ORT wheels")
    assert (finding.state, finding.fix) == (
        "warning",
        "pip uninstall -y onnxruntime && pip install 'graphprune[gpu]'",
    )


def test_an_asked_provider_that_the_wheel_lacks() -> None:
    machine = Described({"onnxruntime": "1.31.1"})
    diagnosis = examine(machine, "openvino")
    assert not diagnosis.starts
    finding = found(machine, "OpenVINOExecutionProvider", "openvino")
    assert finding.fix == "pip uninstall -y onnxruntime && pip install 'graphprune[openvino]'"


def test_tensorrt_eleven_under_a_provider_that_wants_ten() -> None:
    """The trap: pip brings 11, the provider is linked against 10."""
    machine = Described(
        {"onnxruntime-gpu": "1.31.1", "tensorrt-cu13": "11.4.0"},
        (TENSORRT, CUDA, CPU),
        {TENSORRT: "did not start", "trt": "did not start"},
        {**CUDA_LIBRARIES, "libnvinfer.so.11": "/y"},
        NEEDS,
        H100,
    )
    finding = found(machine, TENSORRT, "trt")
    assert finding.state == "problem"
    assert "it needs libnvinfer.so.10, libnvonnxparser.so.10; here is libnvinfer.so.11" in finding.detail
    assert finding.fix == "pip install 'tensorrt-cu13>=10,<11'"
    assert found(machine, CUDA).state == "ok"
    assert found(machine, "TensorRT").detail == "11.4.0"  # by itself it is fine
    assert not examine(machine, "trt").starts


def test_missing_cuda_libraries_are_named() -> None:
    machine = Described(
        {"onnxruntime-gpu": "1.31.1"}, (CUDA, CPU), {CUDA: "fell back"}, {"libcudart.so.13": "/x"}, NEEDS, H100
    )
    finding = found(machine, CUDA)
    assert "it needs libcudnn.so.9, libcublas.so.13" in finding.detail
    assert "graphprune[gpu]" in finding.fix


def test_libraries_without_a_gpu() -> None:
    machine = Described({"onnxruntime-gpu": "1"}, (CUDA, CPU), {CUDA: "no device"}, CUDA_LIBRARIES, NEEDS)
    finding = found(machine, CUDA)
    assert (finding.detail, finding.state) == ("no device", "problem")
    assert "no NVIDIA GPU" in finding.fix


def test_the_device_that_was_asked_for_is_the_one_tried() -> None:
    machine = Described(
        {"onnxruntime-gpu": "1"}, (CUDA, CPU), {"cuda:3": "no such device"}, CUDA_LIBRARIES, NEEDS, H100
    )
    assert not examine(machine, "cuda:3").starts
    assert ("start", "cuda:3") in machine.asked
    assert not any("Azure" in name for question in machine.asked for name in question)


def test_a_wrong_result_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Described({"onnxruntime": "1"})
    probe = machine.probe
    monkeypatch.setattr(machine, "probe", lambda *what: {"is_right": False} if what[0] == "start" else probe(*what))
    assert not examine(machine).starts
    assert "computes something wrong" in found(machine, CPU).detail


def test_a_broken_wheel_is_to_be_installed_again() -> None:
    machine = Described({"onnxruntime": "1"}, fails={"onnxruntime": "undefined symbol: x"})
    finding = found(machine, "onnxruntime")
    assert finding.detail == "undefined symbol: x"
    assert finding.fix == "pip uninstall -y onnxruntime && pip install 'graphprune[cpu]'"


@pytest.mark.parametrize(
    ("torch", "gpu", "state", "detail"),
    [
        ({"version": "2.13.0+cpu", "cuda": "", "available": False, "device": ""}, {}, "ok", "2.13.0+cpu, CPU"),
        ({"version": "2.13.0+cpu", "cuda": "", "available": False, "device": ""}, H100, "warning", "without CUDA"),
        ({"version": "2.13", "cuda": "13.0", "available": False, "device": ""}, H100, "problem", "finds no device"),
        ({"version": "2.13", "cuda": "13.0", "available": True, "device": "NVIDIA H100"}, H100, "ok", "on NVIDIA H100"),
    ],
)
def test_torch(torch: dict[str, Any], gpu: dict[str, Any], state: str, detail: str) -> None:
    finding = found(Described({"onnxruntime": "1", "torch": "2"}, torch=torch, gpu=gpu), "torch")
    assert (finding.state, detail in finding.detail) == (state, True)


def test_torch_that_does_not_load_and_no_compiler() -> None:
    machine = Described({"onnxruntime": "1", "torch": "2"}, fails={"torch": "libtorch.so: no"}, compiler="")
    assert found(machine, "torch").state == "problem"
    assert found(machine, "torch.compile") == Finding(
        "torch.compile", "warning", "finds no C++ compiler", "install g++"
    )


@pytest.mark.parametrize(
    ("packages", "version", "fails", "detail", "fix"),
    [
        ({"tensorrt-cu13-bindings": "11.4"}, "", {"tensorrt": "libnvinfer.so.11: no"}, "no", "tensorrt-cu13==11.4"),
        ({"tensorrt": "8.6.1"}, "8.6.1", {}, "10 and 11 are supported", "graphprune[tensorrt]"),
        ({"tensorrt": "10.16.1"}, "10.16.1", {}, "10.16.1", ""),
    ],
)
def test_tensorrt(packages: dict[str, str], version: str, fails: dict[str, str], detail: str, fix: str) -> None:
    finding = found(Described({"onnxruntime": "1"} | packages, tensorrt=version, fails=fails), "TensorRT")
    assert detail in finding.detail
    assert fix in finding.fix
    assert (finding.state == "ok") == (fix == "")


def test_extras_say_what_they_lack() -> None:
    extras = {"report": ["jinja2", "matplotlib"], "energy": ["codecarbon"], "cpu": ["onnxruntime"]}
    machine = Described({"onnxruntime": "1", "jinja2": "3.1", "codecarbon": "3.0"}, extras=extras)
    assert found(machine, "[report]") == Finding(
        "[report]", "absent", "without matplotlib", "pip install 'graphprune[report]'"
    )
    assert found(machine, "[energy]").detail == "codecarbon 3.0"
    assert not any(finding.name == "[cpu]" for finding in examine(machine).findings)


def test_extras_come_from_the_metadata() -> None:
    lines = ["click>=8", "Jinja2>=3.1; extra == 'report'", 'dask[distributed]>=2024.8 ; extra == "dask"']
    assert extras_of(lines) == {"report": ["jinja2"], "dask": ["dask"]}


def test_what_a_library_is_linked_against_is_read_from_it(tmp_path: Path) -> None:
    path = tmp_path / "lib.so"
    path.write_bytes(b"\x7fELF\0libc.so.6\0libnvinfer.so.10\0libcudart.so.13\0libnvinfer.so.10.3.0\0code")
    assert sonames(path) == ["libcudart.so.13", "libnvinfer.so.10"]


def test_libraries_are_found_where_pip_and_the_loader_have_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "site/nvidia/cudnn/lib/libcudnn.so.9",
        "site/tensorrt_libs/libnvinfer.so.11",
        "else/libcudart.so.13.0.48",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    monkeypatch.setattr(
        system,
        "_package",
        lambda name: {"nvidia": tmp_path / "site/nvidia", "tensorrt_libs": tmp_path / "site/tensorrt_libs"}.get(name),
    )
    monkeypatch.setattr(
        system, "_said_by", lambda *words: "\tlibcublas.so.13 (libc6,x86-64) => /usr/lib/libcublas.so.13"
    )
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{tmp_path / 'else'}{os.pathsep}/nowhere")
    assert ThisMachine().libraries == {
        "libcudnn.so.9": str(tmp_path / "site/nvidia/cudnn/lib/libcudnn.so.9"),
        "libnvinfer.so.11": str(tmp_path / "site/tensorrt_libs/libnvinfer.so.11"),
        "libcudart.so.13": str(tmp_path / "else/libcudart.so.13.0.48"),
        "libcublas.so.13": "/usr/lib/libcublas.so.13",
    }


def test_a_probe_that_dies_or_hangs_is_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(system, "_PATIENCE_SECONDS", 1)
    for body, says in (
        ("echo 'undefined symbol' >&2; kill -SEGV $$", "ended with -11"),
        ("sleep 9", "no answer within"),
    ):
        python.write_text(f"#!/bin/sh\nexec /bin/sh -c '{body.replace(chr(39), chr(34))}'\n")
        python.chmod(0o755)
        assert says in ThisMachine().probe("torch")["error"]


def test_this_machine_starts_on_the_cpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """For real, in a process of its own; torch and TensorRT are asked elsewhere."""
    for name in ("_torch", "_tensorrt"):
        monkeypatch.setattr(checks, name, lambda machine: iter(()))
    monkeypatch.setenv("COLUMNS", "80")
    assert command(monkeypatch, "doctor") == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert "starts" in printed
    assert ThisMachine().probe("start", "nonsense")["error"].startswith("there is no provider 'nonsense'")


def test_the_exit_code_is_six_where_it_does_not_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def described(machine: Any, provider: str, progress: Any) -> Diagnosis:
        return examine(Described({"onnxruntime": "1"}), provider)

    monkeypatch.setattr(checks, "examine", described)
    assert command(monkeypatch, "doctor", "--provider", "cuda", "--json") == 6
    content = json.loads(capsys.readouterr().out)
    assert_published(content)
    assert (content["schema"], content["starts"], content["provider"]) == ("graphprune.doctor/1", False, "cuda")
    assert command(monkeypatch, "doctor", "--json") == 0
    assert capsys.readouterr().out == examine(Described({"onnxruntime": "1"})).to_json()
    assert command(monkeypatch, "doctor", "--provider", "cuda") == 6
    printed = capsys.readouterr()
    assert "next: pip uninstall -y onnxruntime && pip install 'graphprune[gpu]'" in " ".join(printed.out.split())
    assert "no session starts on 'cuda'" in printed.err
