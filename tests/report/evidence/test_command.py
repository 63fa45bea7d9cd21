"""The Python call of a report: only what is not as by default, in the groups that the options are given in."""

from __future__ import annotations

from pathlib import Path

from graphprune import DataOptions, RecoveryOptions, RunOptions, RuntimeOptions, TimingOptions
from graphprune.report.evidence.command import python_call


def test_options_are_shown_in_their_groups() -> None:
    options = RunOptions(
        data=DataOptions(samples=20),
        timing=TimingOptions(batch=2),
        recovery=RecoveryOptions(repair=()),
        runtime=RuntimeOptions(threads=1),
        report=Path("r.html"),
    )
    call = python_call("prune", {"source": Path("net.onnx"), "passes": ["layer-cka"], "dry_run": False}, options)
    assert call.splitlines() == [
        "import graphprune",
        "",
        "graphprune.prune(",
        "    source='net.onnx',",
        "    passes=['layer-cka'],",
        "    options=graphprune.RunOptions(seed=0, data=graphprune.DataOptions(samples=20), "
        "timing=graphprune.TimingOptions(batch=2), recovery=graphprune.RecoveryOptions(repair=()), "
        "runtime=graphprune.RuntimeOptions(provider='cpu', threads=1, extra=()), report='r.html'),",
        ")",
    ]
