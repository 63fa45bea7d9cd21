"""Growth by stages from two blocks in each, and after it a ResNet of as many blocks, evenly spread, for comparison."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import evidence_networks as networks
from evidence_size import Row, Size, Task

from graphprune.ir.loading import load
from graphprune.pipeline.grow import grow
from graphprune.report.growth import GrownNetwork
from graphprune.training import TrainOptions

FIRST = (2, 2, 2)
ITERATIONS = 3


def tasks(size: Size) -> Iterator[Task]:
    for seed in size.seeds:
        yield {"seed": seed}


def rows(task: Task, size: Size, work: Path) -> list[Row]:
    """Every network of the trajectory, top-1 of the last on test images, and of the even ResNet."""
    seed = task["seed"]
    first, out = networks.fresh(FIRST, seed, size, work), work / f"grown-{size.name}-seed{seed}.onnx"
    out.unlink(missing_ok=True)
    data = networks.training_data(load(first), size, work)
    options = TrainOptions.parse(size.training(seed))
    found = grow(first, out, data, options, iterations=ITERATIONS, seed=seed)
    trajectory = [_row("first", found.first)]
    for number, step in enumerate(found.steps, 1):
        trajectory.append(_row(f"{number} tried", step.tried))
        if step.grown:
            trajectory.append(_row(f"{number} grown", step.network))
    last = found.steps[-1].network
    blocks, stages = sum(last.depths), len(FIRST)
    even = tuple((blocks + stages - 1 - stage) // stages for stage in range(stages))
    rival = networks.dense(even, seed, size, work)
    ends = [("grown", last.depths, out), ("even", even, rival)]
    if even != FIRST:
        ends.append(("shallow", FIRST, networks.dense(FIRST, seed, size, work)))
    tops = [{"network": name, "blocks": depths, "top1": networks.top1(path, size, work)} for name, depths, path in ends]
    return [*trajectory, {"network": "end", "limit": found.limit}, *tops]


def _row(name: str, network: GrownNetwork) -> Row:
    return {
        "network": name,
        "blocks": network.depths,
        "macs": network.macs,
        "vip": network.importance,
        "vip_se": network.standard_errors,
        "held_out": network.score,
    }
