"""The checks: from what a system shows to findings, each with the line that repairs it."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from graphprune.base.documents import Document
from graphprune.doctor.system import System
from graphprune.runtime.sessions import CPU, CUDA, TENSORRT, RuntimeOptions

CheckState = Literal["ok", "absent", "warning", "problem"]

_WHEELS = {
    "onnxruntime": "cpu",
    "onnxruntime-gpu": "gpu",
    "onnxruntime-openvino": "openvino",
    "onnxruntime-directml": "",
    "onnxruntime-qnn": "",
    "onnxruntime-training": "",
    "onnxruntime-rocm": "",
    "onnxruntime-migraphx": "",
}
"""Distributions that all write the package onnxruntime -> our extra that brings them."""
_REMOTE = "AzureExecutionProvider"
_BINDINGS = ("tensorrt", "tensorrt-cu13", "tensorrt-cu12", "tensorrt-cu13-bindings", "tensorrt-cu12-bindings")
_RUNTIME_EXTRAS = {"cpu", "gpu", "trt-ep", "openvino", "tensorrt", "test", "torch"}
"""Extras that have a check of their own, or none."""


@dataclass(frozen=True)
class Finding:
    """``absent`` is what nobody asked for; a ``warning`` is in the way of something, a ``problem`` breaks it."""

    name: str
    state: CheckState
    detail: str
    fix: str = ""


class Diagnosis(Document, frozen=True, tag="graphprune.doctor/1"):
    """All findings, and whether ``provider`` starts."""

    provider: str
    starts: bool
    findings: tuple[Finding, ...]


def examine(system: System, provider: str = "cpu", progress: Callable[[str], None] | None = None) -> Diagnosis:
    """Try everything; ``provider`` is the one whose start decides."""
    say = progress or (lambda _: None)
    findings = [Finding("Python", "ok", system.python), *_gpu(system)]
    say("ONNX Runtime")
    wheels = _wheels(system)
    findings.append(wheels)
    runtime = system.probe("onnxruntime")
    starts = False
    if "error" in runtime:
        if wheels.state != "problem":
            findings.append(Finding("onnxruntime", "problem", runtime["error"], _reinstall(system)))
    else:
        findings.append(Finding("onnxruntime", "ok", f"{runtime['version']} in {runtime.get('file', '?')}"))
        wanted = RuntimeOptions(provider).provider_name
        offered = [name for name in runtime["providers"] if name != _REMOTE]
        for name in [*offered, *([wanted] if wanted not in offered else [])]:
            say(name)
            finding = _provider(system, name, provider if name == wanted else name, offered)
            findings.append(finding)
            starts |= name == wanted and finding.state == "ok"
    for check in (_torch, _compiler, _tensorrt):
        say(check.__name__.strip("_"))
        findings.extend(check(system))
    findings.extend(_extras(system))
    return Diagnosis(provider, starts, tuple(findings))


def _gpu(system: System) -> Iterator[Finding]:
    gpu = system.gpu
    if gpu:
        clocks = f", {gpu['sm_mhz']:.0f} of {gpu['max_sm_mhz']:.0f} MHz" if isinstance(gpu.get("sm_mhz"), float) else ""
        yield Finding("NVIDIA GPU", "ok", f"{gpu['gpu']}, driver {gpu.get('driver', '?')}{clocks}")
    else:
        yield Finding("NVIDIA GPU", "absent", "nvidia-smi finds none")


def _wheels(system: System) -> Finding:
    """The wheels of ONNX Runtime, of which there must be one."""
    found = [name for name in _WHEELS if name in system.packages]
    shown = ", ".join(f"{name} {system.packages[name]}" for name in found)
    if not found:
        return Finding("ORT wheels", "problem", "no ONNX Runtime is installed", "pip install 'graphprune[cpu]'")
    if len(found) > 1:
        detail = f"{shown}: they overwrite each other's files, and a GPU provider may be gone without a word"
        return Finding("ORT wheels", "problem", detail, _reinstall(system))
    if found == ["onnxruntime"] and system.gpu:
        return Finding("ORT wheels", "warning", f"{shown}, the one for CPU, beside a GPU", _swap(found, "gpu"))
    return Finding("ORT wheels", "ok", shown)


def _swap(out: list[str], extra: str) -> str:
    """The line that puts the wheel of ``extra`` in the place of others."""
    return (f"pip uninstall -y {' '.join(out)} && " if out else "") + f"pip install 'graphprune[{extra}]'"


def _reinstall(system: System) -> str:
    """Everything out, then the one that can do most of what was asked for."""
    found = [name for name in _WHEELS if name in system.packages]
    best = next((name for name in found if name != "onnxruntime"), "onnxruntime")
    again = f"'graphprune[{_WHEELS[best]}]'" if _WHEELS[best] else best
    return f"pip uninstall -y {' '.join(found or ['onnxruntime'])} && pip install {again}"


def _provider(system: System, name: str, asked: str, offered: list[str]) -> Finding:
    """Whether a session starts on a provider, and if not, why."""
    if name not in offered:
        extra = {CUDA: "gpu", TENSORRT: "trt-ep", "OpenVINOExecutionProvider": "openvino", CPU: "cpu"}.get(name)
        rest = [wheel for wheel in _WHEELS if wheel in system.packages and _WHEELS[wheel] != extra]
        fix = _swap(rest, extra) if extra else "install an ONNX Runtime built with it"
        return Finding(name, "problem", "is not in the installed ONNX Runtime", fix)
    answer = system.probe("start", asked)
    if "error" not in answer:
        if not answer.get("is_right", True):
            return Finding(name, "problem", "starts, and computes something wrong", _reinstall(system))
        return Finding(name, "ok", "starts")
    missing = [soname for soname in system.needs.get(name, ()) if soname not in system.libraries]
    if missing:
        return _missing_library(system, name, missing)
    fix = answer.get("fix", "") if "doctor" not in answer.get("fix", "") else ""
    if not system.gpu and name in (CUDA, TENSORRT):
        fix = "there is no NVIDIA GPU here, or no driver: see nvidia-smi"
    return Finding(name, "problem", answer["error"], fix or "see the message; its libraries are all there")


def _missing_library(system: System, name: str, missing: list[str]) -> Finding:
    """A provider whose libraries are not there, or there in another version."""
    detail = f"does not start: it needs {', '.join(missing)}"
    others = [
        found for found in system.libraries if found.rpartition(".")[0] in {m.rpartition(".")[0] for m in missing}
    ]
    if others:
        detail += f"; here is {', '.join(others)}, another version"
    if any(soname.startswith(("libnvinfer", "libnvonnxparser")) for soname in missing):
        wanted = next(soname for soname in missing if soname.startswith(("libnvinfer", "libnvonnxparser")))
        major = int(wanted.rpartition(".")[2])
        # The newest TensorRT is what pip brings by itself; the provider takes only the one it was linked against.
        return Finding(name, "problem", detail, f"pip install 'tensorrt-cu13>={major},<{major + 1}'")
    return Finding(name, "problem", detail, "pip install 'graphprune[gpu]', which brings CUDA and cuDNN")


def _torch(system: System) -> Iterator[Finding]:
    if "torch" not in system.packages:
        yield Finding("torch", "absent", "not installed", "pip install 'graphprune[torch]'")
        return
    answer = system.probe("torch")
    if "error" in answer:
        yield Finding("torch", "problem", answer["error"], "pip install --force-reinstall torch")
    elif answer["available"]:
        yield Finding("torch", "ok", f"{answer['version']}, CUDA {answer['cuda']} on {answer['device']}")
    elif not system.gpu:
        yield Finding("torch", "ok", f"{answer['version']}, CPU")
    elif answer["cuda"]:
        detail = f"{answer['version']} is built for CUDA {answer['cuda']} and finds no device"
        yield Finding("torch", "problem", detail, "update the driver, or install the torch for its CUDA version")
    else:
        yield Finding(
            "torch", "warning", f"{answer['version']} is built without CUDA", "install the torch for your CUDA version"
        )


def _compiler(system: System) -> Iterator[Finding]:
    if "torch" in system.packages:
        if system.compiler:
            yield Finding("torch.compile", "ok", f"compiles with {system.compiler}")
        else:
            advice = "install g++" if platform.system() == "Linux" else "install a C++ compiler"
            yield Finding("torch.compile", "warning", "finds no C++ compiler", advice)


def _tensorrt(system: System) -> Iterator[Finding]:
    found = [name for name in _BINDINGS if name in system.packages]
    if not found:
        yield Finding("TensorRT", "absent", "not installed", "pip install 'graphprune[tensorrt]'")
        return
    answer = system.probe("tensorrt")
    if "error" in answer:
        yield Finding("TensorRT", "problem", answer["error"], _whole_tensorrt(system, found[0]))
        return
    major = int(answer["version"].partition(".")[0])
    if major not in (10, 11):
        detail = f"{answer['version']} is installed; 10 and 11 are supported"
        yield Finding("TensorRT", "problem", detail, "pip install 'graphprune[tensorrt]'")
    else:
        yield Finding("TensorRT", "ok", answer["version"])


def _whole_tensorrt(system: System, name: str) -> str:
    """Bindings without the libraries are what is left when the download of these failed."""
    version = system.packages[name]
    base = name.removesuffix("-bindings")
    return f"pip install --force-reinstall '{base}=={version}' (its libraries come from NVIDIA's index at install time)"


def _extras(system: System) -> Iterator[Finding]:
    for extra, wanted in sorted(system.extras.items()):
        if extra in _RUNTIME_EXTRAS:
            continue
        missing = [name for name in wanted if name not in system.packages]
        if missing:
            yield Finding(f"[{extra}]", "absent", f"without {', '.join(missing)}", f"pip install 'graphprune[{extra}]'")
        else:
            yield Finding(f"[{extra}]", "ok", ", ".join(f"{name} {system.packages[name]}" for name in wanted))
