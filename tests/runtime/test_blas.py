"""BLAS keeps to the threads that the user allows."""

from __future__ import annotations

import pytest
from threadpoolctl import threadpool_info

import graphprune
from graphprune import RecoveryOptions, RunOptions, RuntimeOptions, TimingOptions
from graphprune.importance import obs as importance
from graphprune.importance.distance import StreamedDistance
from graphprune.repair import obs, refit, ridge
from graphprune.runtime import blas
from graphprune.runtime.blas import blas_threads, threads_for
from tests.repair.nets import correlated, resnet


def allowed() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_as_many_as_allowed_and_as_before_afterwards() -> None:
    before = allowed()
    with blas_threads(1):
        assert allowed() == {1}
    assert allowed() == before


def test_narrow_matrices_get_one_thread() -> None:
    assert [threads_for(width, 3) for width in (0, 576, blas.WIDE - 1, blas.WIDE)] == [1, 1, 1, 3]


@pytest.mark.slow  # beside other processes two threads wait busily
@pytest.mark.parametrize(("wide", "allowed_there"), [(1, 2), (10_000, 1)])
def test_choice_and_repair_keep_to_the_threads_of_the_run(
    monkeypatch: pytest.MonkeyPatch, wide: int, allowed_there: int
) -> None:
    """Left to itself BLAS takes every core: four runs of ``--threads 3`` on 16 cores never ended. In narrow layers
    further threads would wait busily and gain nothing."""
    monkeypatch.setattr(blas, "WIDE", wide)
    seen: dict[str, set[int]] = {}
    solve, weigh = ridge.refit, importance.removal_losses
    monkeypatch.setattr(refit, "refit", lambda *a, **k: (seen.setdefault("repair", allowed()), solve(*a, **k))[1])
    monkeypatch.setattr(
        obs, "removal_losses", lambda *a, **k: (seen.setdefault("choice", allowed()), weigh(*a, **k))[1]
    )
    options = RunOptions(
        timing=TimingOptions(measure_latency=False),
        recovery=RecoveryOptions(repair=("ridge",)),
        runtime=RuntimeOptions(threads=2),
    )
    before = allowed()
    graphprune.prune(resnet(1), ["filter-obs"], correlated(16), "flops=0.9", options=options)
    assert seen == {"repair": {allowed_there}, "choice": {allowed_there}}
    assert allowed() == before


def test_a_whole_run_on_a_narrow_network_has_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks judged after their repair compare and refit outside of the repair stage."""
    seen: set[int] = set()
    measure = StreamedDistance.result

    def looked(self: StreamedDistance, index: int) -> tuple[float, float]:
        seen.update(allowed())
        return measure(self, index)

    monkeypatch.setattr(StreamedDistance, "result", looked)
    options = RunOptions(timing=TimingOptions(measure_latency=False), runtime=RuntimeOptions(threads=3))
    with blas_threads(2):
        graphprune.prune(
            resnet(4), ["layer-cka{rescore=repaired,floor=1}"], correlated(32), "removed=1", options=options
        )
        assert allowed() == {2}
    assert seen == {1}
