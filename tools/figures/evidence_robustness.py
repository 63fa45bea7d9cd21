"""Attacks and corruptions on the networks that ``evidence_joint.py`` pruned, beside the dense one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import evidence_networks as networks
import numpy as np
from cifar import STANDARD_MEAN, STANDARD_STD
from evidence_size import Row, Size, Task

from graphprune.evaluation.attacks import fgsm
from graphprune.evaluation.corruptions import chosen
from graphprune.evaluation.moves import move
from graphprune.evaluation.side_by_side import EvaluationOptions, evaluate_models
from graphprune.runtime.sessions import RuntimeOptions

METHODS = ("layers", "filters", "joint")
IMAGES = 1_000
EPSILONS = (2 / 255, 8 / 255)


def tasks(size: Size) -> Iterator[Task]:
    for seed in size.seeds:
        yield {"seed": seed}


def rows(task: Task, size: Size, work: Path) -> list[Row]:
    """Top-1 of every network under every condition."""
    seed = task["seed"]
    paths = [networks.dense(size.joint_blocks, seed, size, work)]
    paths += [work / f"step-{method}-{seed}-{size.name}.onnx" for method in METHODS]
    x, labels = networks.images(work, size, "test")
    is_grey = x.shape[1] == 1
    mean, std = (networks.FASHION_MEAN, networks.FASHION_STD) if is_grey else (STANDARD_MEAN, STANDARD_STD)
    options = EvaluationOptions(
        attacks=tuple(map(fgsm, EPSILONS)),
        moves=(move("shift"), move("occlusion")),
        corruptions=chosen(["common"]),
        severities=(3,),
        pixel_mean=np.asarray(mean),
        pixel_std=np.asarray(std),
        runtime=RuntimeOptions("cpu", 1),
    )
    data = {"input": x[:IMAGES], "labels": labels[:IMAGES]}
    found = evaluate_models(paths, data, options)
    kept = [row for row in found.rows if row.kind in ("clean", "attack") or row.name == "corruptions"]
    return [
        {"condition": f"{row.name} {row.level}".strip(), "top1": dict(zip(("dense", *METHODS), values, strict=True))}
        for row in kept
        for values in [[value.value for value in row.values]]
    ]
