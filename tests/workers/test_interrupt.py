"""Ctrl-C while worker processes score: the command ends as without them, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

_PATIENCE_SECONDS = 60.0


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are counted in /proc")
@pytest.mark.parametrize("to_all", [True, False], ids=["Ctrl-C", "kill -INT"])
def test_interrupted_while_processes_work(shipped: Path, calibration: Path, tmp_path: Path, *, to_all: bool) -> None:
    """A terminal sends the signal to the workers too, ``kill`` to the command alone."""
    words = [shipped, "--pass", "layer-cka{rescore=none}", "--target", "removed=5", "--data", calibration]
    words += ["--jobs", "2", "--no-bench", "-o", tmp_path / "small.onnx"]
    running = subprocess.Popen(
        [sys.executable, "-m", "graphprune", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a job in the background inherits that it is ignored
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert soon(lambda: workers_at_work(running.pid) == 2)
        if to_all:
            os.killpg(running.pid, signal.SIGINT)
        else:
            running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=_PATIENCE_SECONDS)
        assert running.returncode == 130, err
        assert err.splitlines()[-1] == "graphprune: interrupted; nothing was written"
        assert "Traceback" not in err
        assert out == ""
        assert not list(tmp_path.iterdir())
        assert soon(lambda: not of_session(running.pid))
    finally:
        for pid in of_session(running.pid):
            os.kill(pid, signal.SIGKILL)


def soon(is_so: Callable[[], bool]) -> bool:
    ends = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < ends:
        if is_so():
            return True
        time.sleep(0.1)
    return False


def workers_at_work(leader: int) -> int:
    """Processes beside the leader that have done more than start."""
    return sum(seconds > 2 for pid, seconds in of_session(leader).items() if pid != leader)


def of_session(leader: int) -> dict[int, float]:
    """CPU seconds of every living process of the session."""
    tick = os.sysconf("SC_CLK_TCK")
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it just ended
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found[int(folder.name)] = (int(fields[11]) + int(fields[12])) / tick
    return found
