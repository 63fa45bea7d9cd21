"""The machine a timing was made on: processor, GPU, and the clocks they run at."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from graphprune.workers.facts import processor

_CPU_INFO = Path("/proc/cpuinfo")
_FREQUENCY = Path("/sys/devices/system/cpu/cpu0/cpufreq")
_FIELDS = {
    "name": "gpu",
    "driver_version": "driver",
    "clocks.sm": "sm_mhz",
    "clocks.max.sm": "max_sm_mhz",
    "clocks.mem": "memory_mhz",
    "power.draw": "power_watts",
    "temperature.gpu": "celsius",
}


def host() -> dict[str, Any]:
    """Processor, its governor and clock where the system tells them, Python."""
    facts: dict[str, Any] = {"processor": processor(_CPU_INFO), "python": platform.python_version()}
    governor, kilohertz = _FREQUENCY / "scaling_governor", _FREQUENCY / "scaling_cur_freq"
    try:
        if governor.is_file():
            facts["governor"] = governor.read_text().strip()
        if kilohertz.is_file():
            facts["cpu_mhz"] = round(int(kilohertz.read_text()) / 1000)
        elif _CPU_INFO.is_file():
            clocks = [line for line in _CPU_INFO.read_text().splitlines() if line.startswith("cpu MHz")]
            facts |= {"cpu_mhz": round(max(float(line.partition(":")[2]) for line in clocks))} if clocks else {}
    except (OSError, ValueError):
        pass  # some containers show the files and do not let one read them
    return facts


def gpu(index: int = 0) -> dict[str, Any]:
    """Name, driver, clocks, power and temperature of the CUDA device ``index``; empty where no tool tells them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    identity = visible[index].strip() if index < len(visible) and visible[index].strip() else str(index)
    command = ["nvidia-smi", f"--id={identity}", f"--query-gpu={','.join(_FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    values = [value.strip() for value in answer.strip().splitlines()[0].split(",")]
    return {name: _number(value) for name, value in zip(_FIELDS.values(), values, strict=False)}


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
