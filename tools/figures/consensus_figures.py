"""``layer-consensus`` beside ``layer-cka`` on a CIFAR-10 ResNet: who goes when, blocks left in each stage,
and what deciding costs.

    python tools/figures/consensus_figures.py resnet56 --removed 21 --out build/consensus.txt

512 labelled training images unless told otherwise. CPU seconds are those of the whole process,
so they hold on a busy machine.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

from cifar import shared_folder
from cifar_training import prepared

import graphprune
from graphprune import DataOptions, RunOptions
from graphprune.analysis.blocks import find_joins
from graphprune.plan.plan import RemovedBlock


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--removed", type=int, default=21)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--specs", nargs="+", default=["layer-cka{rescore=none}", "layer-consensus"])
    parser.add_argument("--out", type=Path, help="lines are added as they come")
    options = parser.parse_args()
    images, labels = prepared(options.images)
    path = shared_folder() / "models" / f"{options.model}.onnx"
    joins = [join for join in find_joins(graphprune.load(path)) if join.stage >= 0]
    stages = {join.block.name: join.stage for join in joins if join.block}

    def say(line: str) -> None:
        print(line, flush=True)
        if options.out:
            with options.out.open("a") as file:
                file.write(line + "\n")

    for spec in options.specs:
        started, cpu = time.perf_counter(), time.process_time()
        result = graphprune.prune(
            path,
            [spec],
            {"images": images, "labels": labels},
            f"removed={options.removed}",
            dry_run=True,
            options=RunOptions(data=DataOptions(samples=options.images)),
        )
        say(f"\n{options.model} {spec}: {time.perf_counter() - started:.1f} s, {time.process_time() - cpu:.1f} CPU s")
        left = Counter(join.stage for join in joins)
        for count, block in enumerate(result.plan.blocks, 1):
            left[stages[block.name]] -= 1
            figures = " ".join(f"{name}={value:.4g}" for name, value in _own(block).items())
            say(
                f"{count:2d} {block.name:16s} {[left[stage] for stage in sorted(left)]} "
                f"{block.score:.5g} ({block.standard_error:.2g}) {figures}"
            )


def _own(block: RemovedBlock) -> dict[str, float]:
    """What the score of a removed block was made of."""
    return dict(next(score.details for score in block.scores if score.unit == block.name))


if __name__ == "__main__":
    main()
