"""Scoring on a Dask cluster: real workers, one of which is killed in the middle of its work."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from graphprune.errors import RuntimeMissing
from graphprune.workers import dask_cluster, hired
from tests.workers.deadly import survived
from tests.workers.work import die_elsewhere, double

distributed = pytest.importorskip("distributed", reason="dask[distributed] is not installed")


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A scheduler and two worker processes of one thread each, new for every test, for some kill them."""
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as local:
        yield local


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_loses_nothing(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By Dask's own means; or by ours, when the worker took the last copy of the samples with it."""
    before = pids(cluster)
    assert len(before) == 2
    survived(tmp_path, monkeypatch, "dask", cluster.scheduler_address)
    assert len(before - pids(cluster)) == 1


def pids(cluster: Any) -> set[int]:
    with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=120)
        return set(client.run(os.getpid).values())


def test_a_scheduler_that_went_away_is_done_without(cluster: Any) -> None:
    with hired(None, "dask", cluster.scheduler_address) as workers:
        assert workers is not None
        assert workers.map(double, 2, [1, 2]) == [2, 4]
        count = workers.count
        cast(Any, workers)._client.close()  # as it closes itself when nobody answers
        assert workers.count == count
        assert workers.map(double, 3, [1, 2]) == [3, 6]
        assert any("the Dask scheduler is gone" in note for note in workers.notes)


def test_a_scheduler_file_and_the_environment_name_the_cluster(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "scheduler.json"
    path.write_text(f'{{"address": "{cluster.scheduler_address}"}}')
    with hired(1, "dask", str(path)) as workers:
        assert workers is not None
        assert workers.count == 1
        assert workers.map(double, 2, [1, 2]) == [2, 4]


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_cluster, "_ANSWER_SECONDS", 1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(RuntimeMissing, match=f"no Dask scheduler answers at {address}"), hired(1, "dask", address):
            pass


def test_a_task_that_kills_every_worker_is_done_here(cluster: Any) -> None:
    """Dask gives up after the fourth; this process is asked last."""
    with hired(None, "dask", cluster.scheduler_address) as workers:
        assert workers is not None
        assert workers.map(die_elsewhere, os.getpid(), [5]) == [5]
        assert any("the Dask cluster lost a task" in note for note in workers.notes)
