"""What the doctor looks at: packages, shared libraries, and runtimes tried in a process of their own."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import mmap
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from graphprune.measure import machine

_PATIENCE_SECONDS = 180  # a first TensorRT engine takes its time
_NEEDED = re.compile(rb"\0(lib(?:nvinfer|nvonnxparser|cudart|cudnn|cublas|cublasLt|cufft|curand|nvrtc)\.so\.\d+)(?=\0)")
_LIBRARY = re.compile(
    r"(lib(?:nvinfer|nvonnxparser|cudart|cudnn|cublas|cublasLt|cufft|curand|nvrtc)\.so\.\d+)(?:\.\d+)*"
)
_NAMES_BYTES = 64 << 20
"""The names of the libraries that a library needs stand before its code."""


class System(Protocol):
    """A machine and its Python, as the checks see it."""

    @property
    def python(self) -> str:
        """Version of Python, system and architecture."""

    @property
    def packages(self) -> Mapping[str, str]:
        """Installed distributions by their normalised name, with versions."""

    @property
    def extras(self) -> Mapping[str, Sequence[str]]:
        """Extra of graphprune -> the distributions it brings, by normalised name."""

    @property
    def libraries(self) -> Mapping[str, str]:
        """Soname (``libnvinfer.so.10``) -> where it lies,
        of NVIDIA's libraries in the packages and on the loader's path.
        """

    @property
    def needs(self) -> Mapping[str, Sequence[str]]:
        """Provider of the installed ONNX Runtime -> the sonames of NVIDIA's libraries that it is linked against."""

    @property
    def gpu(self) -> Mapping[str, Any]:
        """The first NVIDIA GPU with its driver, empty where there is none."""

    @property
    def compiler(self) -> str:
        """The C++ compiler that torch.compile would take, "" where there is none."""

    def probe(self, *what: str) -> dict[str, Any]:
        """What :mod:`graphprune.doctor.probe` says when asked ``what``; ``error`` is there when it failed."""


class ThisMachine:
    """The machine this runs on."""

    @property
    def python(self) -> str:
        return f"{platform.python_version()} on {platform.system()} {platform.machine()}"

    @cached_property
    def packages(self) -> dict[str, str]:
        found = importlib.metadata.distributions()
        return {normalised(each.name): each.version for each in found if each.name}

    @cached_property
    def extras(self) -> dict[str, list[str]]:
        try:
            lines = importlib.metadata.requires("graphprune") or []
        except importlib.metadata.PackageNotFoundError:
            return {}  # a checkout on the path
        return extras_of(lines)

    @cached_property
    def libraries(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for folder in self._folders():
            for path in sorted(folder.glob("lib*.so.*")):
                if match := _LIBRARY.fullmatch(path.name):
                    found.setdefault(match[1], str(path))
        for line in _said_by("ldconfig", "-p").splitlines():
            name, _, place = line.strip().partition(" ")
            if _LIBRARY.fullmatch(name):
                found.setdefault(name, place.rpartition("=> ")[2])
        return found

    @cached_property
    def needs(self) -> dict[str, list[str]]:
        folder = _package("onnxruntime")
        if folder is None:
            return {}
        libraries = {
            "CUDAExecutionProvider": "libonnxruntime_providers_cuda.so",
            "TensorrtExecutionProvider": "libonnxruntime_providers_tensorrt.so",
        }
        paths = {name: folder / "capi" / library for name, library in libraries.items()}
        return {name: sonames(path) for name, path in paths.items() if path.is_file()}

    @cached_property
    def gpu(self) -> dict[str, Any]:
        return machine.gpu()

    @cached_property
    def compiler(self) -> str:
        named = os.environ.get("CXX", "")
        return next((found for name in (named, "g++", "clang++") if name and (found := shutil.which(name))), "")

    def probe(self, *what: str) -> dict[str, Any]:
        root = str(Path(__file__).parent.parent.parent)
        path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, "-m", "graphprune.doctor.probe", *what]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=_PATIENCE_SECONDS,
                env=os.environ | {"PYTHONPATH": path},
            )
        except subprocess.TimeoutExpired:
            return {"error": f"no answer within {_PATIENCE_SECONDS} seconds"}
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1][:300]
            return {"error": f"the process ended with {done.returncode}: {last}"}
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])  # libraries may print before it
        return answer

    def _folders(self) -> list[Path]:
        """Where pip packages, the loader's variable and CUDA's installer put libraries."""
        packages = {path for name in ("nvidia", "tensorrt_libs") if (path := _package(name))}
        inside = [folder for path in packages for folder in (path, *path.glob("*/lib"))]
        torch = _package("torch")
        named = [Path(entry) for entry in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if entry]
        others = [*named, Path("/usr/local/cuda/lib64"), *([torch / "lib"] if torch else [])]
        return [folder for folder in (*inside, *others) if folder.is_dir()]


def normalised(name: str) -> str:
    """A distribution's name as comparisons want it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def extras_of(lines: Sequence[str]) -> dict[str, list[str]]:
    """Extra -> distributions, from the requirements of a distribution's metadata."""
    extras: dict[str, list[str]] = {}
    for line in lines:
        match = re.match(r"([\w.-]+).*;.*extra\s*==\s*['\"]([\w.-]+)['\"]", line)
        if match:
            extras.setdefault(match[2], []).append(normalised(match[1]))
    return extras


def sonames(path: Path) -> list[str]:
    """The NVIDIA libraries that the library at ``path`` names."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        found = {match[1].decode() for match in _NEEDED.finditer(content[:_NAMES_BYTES])}
    return sorted(found)


def _package(name: str) -> Path | None:
    """The folder of an importable package, without importing it."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    places = list(spec.submodule_search_locations or []) if spec else []
    return Path(places[0]) if places else None


def _said_by(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
