"""BLAS keeps to the threads that the user allows."""

from __future__ import annotations

import pytest
from threadpoolctl import threadpool_info

import graphprune
from graphprune import RecoveryOptions, RunOptions, RuntimeOptions, TimingOptions
from graphprune.importance import obs as importance
from graphprune.repair import obs, refit, ridge
from graphprune.runtime.blas import blas_threads
from tests.repair.nets import correlated, resnet


def allowed() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_as_many_as_allowed_and_as_before_afterwards() -> None:
    before = allowed()
    with blas_threads(1):
        assert allowed() == {1}
    assert allowed() == before


def test_choice_and_repair_keep_to_the_threads_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Left to itself BLAS takes every core: four runs of ``--threads 3`` on 16 cores never ended."""
    seen: dict[str, set[int]] = {}
    solve, weigh = ridge.refit, importance.removal_losses
    monkeypatch.setattr(refit, "refit", lambda *a, **k: (seen.setdefault("repair", allowed()), solve(*a, **k))[1])
    monkeypatch.setattr(
        obs, "removal_losses", lambda *a, **k: (seen.setdefault("choice", allowed()), weigh(*a, **k))[1]
    )
    options = RunOptions(
        timing=TimingOptions(measure_latency=False),
        recovery=RecoveryOptions(repair=("ridge",)),
        runtime=RuntimeOptions(threads=3),
    )
    before = allowed()
    graphprune.prune(resnet(1), ["filter-obs"], correlated(16), "flops=0.9", options=options)
    assert seen == {"repair": {3}, "choice": {3}}
    assert allowed() == before
