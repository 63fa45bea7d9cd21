"""The runtime is timed only when a width is really wanted in multiples of what it likes."""

from __future__ import annotations

import numpy as np
import pytest

import graphprune
from graphprune import DataOptions, RecoveryOptions, RunOptions, RuntimeOptions, TimingOptions
from tests.graphs import residual_mlp
from tests.token_graphs import Shape, tokens, transformer

OPTIONS = RunOptions(
    align="auto",
    data=DataOptions(samples=16),
    timing=TimingOptions(measure_latency=False),
    recovery=RecoveryOptions(repair=()),
    runtime=RuntimeOptions(threads=1),
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[RuntimeOptions]:
    """The runtimes that were timed."""
    runtimes: list[RuntimeOptions] = []

    def multiple_for(options: RuntimeOptions, folder: object) -> int:
        runtimes.append(options)
        return 4

    monkeypatch.setattr("graphprune.pass_infra.width_policy.multiple_for", multiple_for)
    return runtimes


def test_a_pass_that_removes_blocks_never_times(asked: list[RuntimeOptions]) -> None:
    rows = np.random.default_rng(0).standard_normal((16, 4)).astype(np.float32)
    graphprune.prune(residual_mlp(3), ["layer-cka"], rows, "removed=1", dry_run=True, options=OPTIONS)
    assert not asked


def test_heads_are_wanted_in_no_multiples_and_neurons_are(asked: list[RuntimeOptions]) -> None:
    shape = Shape()
    proto, data = transformer(shape), tokens(shape, 16)
    graphprune.prune(proto, ["head-projection"], data, "removed=1", dry_run=True, options=OPTIONS)
    assert not asked
    graphprune.prune(proto, ["neuron-projection"], data, "removed=1", dry_run=True, options=OPTIONS)
    assert asked == [OPTIONS.runtime]
