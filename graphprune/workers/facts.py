"""What must be alike on all machines for their results to be alike."""

from __future__ import annotations

import platform
import socket
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy

import graphprune
from graphprune.base import extras
from graphprune.errors import RuntimeMissing


@dataclass(frozen=True)
class Facts:
    """Versions decide over results, and so does the processor, in the last digits:
    kernels are chosen by what it can do.
    """

    host: str
    versions: tuple[tuple[str, str], ...]
    processor: str


def facts() -> Facts:
    """Those of this process."""
    versions = {
        "graphprune": graphprune.__version__,
        "onnxruntime": extras.onnxruntime().__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
    }
    return Facts(socket.gethostname(), tuple(versions.items()), processor())


def check_versions(worker: Facts, caller: Facts) -> None:
    """Refuse a worker that would compute something else.

    Raises
    ------
    RuntimeMissing
        A package has another version there.
    """
    for (package, there), (_, here) in zip(worker.versions, caller.versions, strict=True):
        if there != here:
            raise RuntimeMissing(
                f"the worker on {worker.host} has {package} {there}, this process {here}: they may score differently",
                f"run on the workers: pip install '{package}=={here}'",
            )


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The model of this machine's processor, as the system tells it."""
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
