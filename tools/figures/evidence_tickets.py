"""Lottery tickets at initialisation: blocks or as many filters gone before the training, against the dense network."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import evidence_networks as networks
from evidence_size import Row, Size, Task

import graphprune
from graphprune import RecoveryOptions, RunOptions, RuntimeOptions, TimingOptions
from graphprune.ir.loading import load

BLOCKS = (5, 5, 5)
OPTIONS = RunOptions(
    timing=TimingOptions(measure_latency=False),
    recovery=RecoveryOptions(repair=()),
    runtime=RuntimeOptions(threads=1),
    align=1,
)


def tasks(size: Size) -> Iterator[Task]:
    """Seed by seed, the ends of the scale first."""
    for seed in size.seeds:
        yield {"kind": "dense", "removed": 0, "seed": seed}
        for removed in (1, 3, 5):
            for kind in ("layers snip", "layers grasp"):
                yield {"kind": kind, "removed": removed, "seed": seed}
    for seed in size.seeds:
        for kind in ("filters snip", "filters grasp"):
            yield {"kind": kind, "removed": 1, "seed": seed}
    for seed in size.seeds:
        for removed in (2, 4):
            for kind in ("layers snip", "layers grasp"):
                yield {"kind": kind, "removed": removed, "seed": seed}


def rows(task: Task, size: Size, work: Path) -> list[Row]:
    """Top-1 after the training, MACs left, and the time of the training, at small size the processor's."""
    path = networks.fresh(BLOCKS, task["seed"], size, work)
    what, _, score = task["kind"].partition(" ")
    macs_left, gone, model = 1.0, list[str](), load(path)
    if what != "dense":
        layers = f"layer-ticket{{score={score}}}"
        spec = layers if what == "layers" else f"filter-ticket{{score={score},layers={task['removed']}}}"
        target = f"removed={task['removed']}" if what == "layers" else "rule"
        result = graphprune.prune(path, [spec], networks.calibration(work, size), target, options=OPTIONS)
        assert result.model is not None
        model, macs_left = result.model, result.after.macs / result.before.macs
        gone = [block.name for block in result.plan.blocks]
    clock = (
        time.perf_counter if size.name == "paper" else time.process_time
    )  # a GPU is waited for; two cores are shared
    started = clock()
    better = networks.trained(model, size, size.training(task["seed"]), work)
    seconds = clock() - started
    return [{"macs_left": macs_left, "gone": gone, "seconds": seconds, "top1": networks.top1(better, size, work)}]
