"""Scoring on a Ray cluster: real actors, one of which is killed in the middle of its work."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from graphprune.errors import RuntimeMissing
from graphprune.workers import hired
from tests.workers.deadly import survived
from tests.workers.work import die_elsewhere, double

ROOT = Path(__file__).parent.parent.parent

ray: Any = pytest.importorskip("ray", reason="ray is not installed")


@pytest.fixture(scope="module")
def head() -> Iterator[str]:
    """Two cores of this machine."""
    here = ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield here.address_info["gcs_address"]
    ray.shutdown()


@pytest.fixture
def cluster(head: str) -> str:
    """With both cores free: the actors of the test before may still be going."""
    ends = time.monotonic() + 60
    while ray.available_resources().get("CPU", 0) < 2:
        assert time.monotonic() < ends
        time.sleep(0.1)
    return head


def test_a_worker_killed_in_the_middle_loses_nothing(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    survived(tmp_path, monkeypatch, "ray", cluster)


def test_results_come_in_order(cluster: str) -> None:
    with hired(None, "ray", cluster) as workers:
        assert workers is not None
        assert workers.count == 2
        assert workers.map(double, 2, list(range(7))) == [0, 2, 4, 6, 8, 10, 12]


def test_a_task_that_kills_every_worker_is_done_here(cluster: str) -> None:
    with hired(None, "ray", cluster) as workers:
        assert workers is not None
        assert workers.map(die_elsewhere, os.getpid(), [5]) == [5]
        assert any("the Ray cluster lost a task" in note for note in workers.notes)
        assert workers.map(double, 2, [1, 2]) == [2, 4]


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:none"])
def test_nobody_answers(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once: Ray itself tries for many minutes."""
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(RuntimeMissing, match=f"no Ray cluster answers at {address} "), hired(1, "ray", address):
        pass


def refuse(address: str, **_: object) -> None:
    """An address that is none, or one where somebody listened."""
    assert address == "127.0.0.1:none"
    raise ValueError(address)


def test_the_command_connects_and_its_signal_handler_stays(cluster: str, tmp_path: Path) -> None:
    """Ray sets a handler of its own for SIGTERM; half-written files would stay."""
    script = """
import signal, sys
from graphprune.workers import hired
from tests.workers.work import double
signal.signal(signal.SIGTERM, signal.default_int_handler)
with hired(1, "ray", sys.argv[1]) as workers:
    print(workers.map(double, 3, [1, 2]))
print(signal.getsignal(signal.SIGTERM) is signal.default_int_handler)
"""
    words = [sys.executable, "-c", script, cluster]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.split("\n")[:2] == ["[3, 6]", "True"], done.stderr
