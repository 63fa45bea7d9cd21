"""``layer-pls`` against ``layer-cka`` at equal MACs, and with ``filter-pls-vip`` after either; the same training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import evidence_networks as networks
from evidence_size import Row, Size, Task
from evidence_tickets import BLOCKS, OPTIONS

import graphprune
from graphprune import RecoveryOptions
from graphprune.errors import NothingToPrune, TargetNotReached
from graphprune.ir import export
from graphprune.repair.stage import DEFAULT
from graphprune.report.result import Result

FIRST = {"layer-pls": "layer-pls", "layer-cka": "layer-cka{rescore=none}"}
THEN = "filter-pls-vip"
THEN_LEFT = 0.6
"""Share of the dense network's MACs after the filters."""


def tasks(size: Size) -> Iterator[Task]:
    for seed in size.seeds:
        yield {"seed": seed}


def rows(task: Task, size: Size, work: Path) -> list[Row]:
    """The dense network, then each method without and with filters after it; ``layer-pls`` says how many blocks go."""
    seed = task["seed"]
    dense = networks.dense(BLOCKS, seed, size, work)
    found: list[Row] = [{"method": "dense", "macs_left": 1.0, "top1": networks.top1(dense, size, work)}]
    target = "rule"
    for method, spec in FIRST.items():
        try:
            result = _pruned(dense, spec, target, size, work)
        except (NothingToPrune, TargetNotReached) as error:
            return [*found, {"method": method, "refused": error.message}]
        target, left = f"removed={len(result.plan.blocks)}", result.after.macs / result.before.macs
        row = {"method": method, "gone": [block.name for block in result.plan.blocks], "macs_left": left}
        small, top1 = _trained(result, method, seed, size, work)
        found.append(row | {"top1": top1})
        thin = _pruned(small, THEN, f"flops={THEN_LEFT / left}", size, work)
        _, top1 = _trained(thin, f"{method}-{THEN}", seed, size, work)
        left *= thin.after.macs / thin.before.macs
        found.append({"method": f"{method}, {THEN}", "macs_left": left, "top1": top1})
    return found


def _pruned(path: Path, spec: str, target: str, size: Size, work: Path) -> Result:
    options = replace(OPTIONS, recovery=RecoveryOptions(repair=DEFAULT))
    return graphprune.prune(path, [spec], networks.calibration(work, size), target, options=options)


def _trained(result: Result, name: str, seed: int, size: Size, work: Path) -> tuple[Path, float]:
    """The file of the network after its training, and top-1."""
    assert result.model is not None
    path = work / f"cut-{name}-{seed}-{size.name}.onnx"
    export.write(networks.trained(result.model, size, size.training(seed, size.after), work), path)
    return path, networks.top1(path, size, work)
