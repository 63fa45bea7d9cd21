"""``joint-cka`` with the KL criterion against layers only, filters only and a coin, step by step, trained in between.

Every step takes as many MACs as a block has; after it all methods get the same repair and training. ``trained`` is the
paper's rule to the letter: both children are trained on a tenth of the images before CKA compares them. ``cka``, at
paper size, is the one on CKA: a block after the other, trained after each (at small size: docs/measured.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import evidence_networks as networks
from evidence_size import Row, Size, Task
from evidence_tickets import OPTIONS

import graphprune
from graphprune import RecoveryOptions
from graphprune.analysis.model_analysis import analyse
from graphprune.analysis.representation import find_representations
from graphprune.data.dataset import Data, load_data
from graphprune.errors import NothingToPrune, TargetNotReached
from graphprune.ir import export
from graphprune.ir.loading import load
from graphprune.ir.model import Model
from graphprune.pass_infra.joint.arbiter import Seen, distances
from graphprune.repair.stage import DEFAULT
from graphprune.report.result import Result
from graphprune.runtime.execution import Execution
from graphprune.runtime.sessions import RuntimeOptions

JOINT = "joint-cka{criterion=kl,match=flops,samples=128%s}"
SPECS = {"joint": JOINT % "", "random": JOINT % ",select=random", "layers": "layer-kl", "filters": "filter-kl"}
SPECS["cka"] = "layer-cka{rescore=none}"
METHODS = ("joint", "layers", "filters", "random", "trained")
SCORING_IMAGES = 128
HELD_OUT_IMAGES = 1024  # of the training images, that compare trained children
RUNTIME = RuntimeOptions(threads=1)


def tasks(size: Size) -> Iterator[Task]:
    for seed in size.seeds:
        for method in (*METHODS, "cka") if size.name == "paper" else METHODS:
            yield {"method": method, "seed": seed}


def rows(task: Task, size: Size, work: Path) -> list[Row]:
    """The dense network and each step: what went, MACs left, top-1 after the training."""
    seed, method = task["seed"], task["method"]
    now = networks.dense(size.joint_blocks, seed, size, work)
    whole, found = 0, [{"step": 0, "what": "", "macs_left": 1.0, "top1": networks.top1(now, size, work)}]
    for step in range(1, size.joint_steps + 1):
        try:
            result, what = _cut(method, now, step, seed, size, work)
        except (NothingToPrune, TargetNotReached) as error:
            found.append({"step": step, "refused": error.message})
            break
        assert result.model is not None
        whole = whole or result.before.macs
        better = networks.trained(result.model, size, size.training(seed, size.after), work)
        now = work / f"step-{method}-{seed}-{size.name}.onnx"
        export.write(better, now)
        top1 = networks.top1(better, size, work)
        found.append({"step": step, "what": what, "macs_left": result.after.macs / whole, "top1": top1})
    return found


def _cut(method: str, now: Path, step: int, seed: int, size: Size, work: Path) -> tuple[Result, str]:
    """One step from ``now``, and whether layers or filters went."""
    if method != "trained":
        result = _pruned(now, SPECS[method], method, step, seed, size, work)
        return result, "layer" if result.plan.blocks else "filters"
    try:
        layer = _pruned(now, SPECS["layers"], "layers", step, seed, size, work)
    except (NothingToPrune, TargetNotReached):
        return _pruned(now, SPECS["filters"], "filters", step, seed, size, work), "filters"
    filters = _pruned(now, SPECS["filters"], "filters", step, seed, size, work)
    parent, children = load(now), [result.model for result in (layer, filters)]
    options = size.training(seed, size.brief)
    tried = [networks.trained(child, size, options, work, share=0.1) for child in children if child is not None]
    held_out = networks.images(work, size, "train")[0][-HELD_OUT_IMAGES:]
    data = load_data({"input": held_out}, parent, None)
    seen = [_seen(model, data) for model in (parent, *tried)]
    apart = distances(seen[0], seen[1:], data, Execution(128, RUNTIME), "cka")
    return (layer, "layer") if apart[0] <= apart[1] else (filters, "filters")


def _seen(model: Model, data: Data) -> Seen:
    """The network with what its classifier reads."""
    analysis = analyse(model, data.first(1), RUNTIME)
    return model, find_representations(model, [join.block for join in analysis.joins if join.block])


def _pruned(now: Path, spec: str, method: str, step: int, seed: int, size: Size, work: Path) -> Result:
    """One step by a pass: a block, or filters down to the MACs that as many blocks would leave."""
    macs = analyse(load(now), {"input": networks.images(work, size, "test")[0][:1]}, RUNTIME).cost.macs
    block = 18 * size.widths[0] ** 2 * size.pixels**2  # two convolutions, in every stage the same
    target = (
        "removed=1"
        if method in ("layers", "cka")
        else "flops=0.999"
        if method in ("joint", "random")
        else f"flops={1 - block / macs}"
    )
    data = networks.calibration(work, size)
    options = replace(
        OPTIONS,
        recovery=RecoveryOptions(repair=DEFAULT),
        data=replace(OPTIONS.data, samples=SCORING_IMAGES if method == "filters" else None),
        seed=1000 * seed + step,
    )
    return graphprune.prune(now, [spec], data, target, options=options)
