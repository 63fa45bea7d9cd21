"""What repair without training gives back on the CIFAR-10 ResNets: top-1 on test images. Resumes from its JSON file.

python tools/figures/cifar_repair.py resnet56_jpeg --json build/cifar_repair.json
python tools/figures/cifar_repair.py resnet56_jpeg --passes filter-obs --left 0.5 --images 2048 --json
build/cifar_repair.json python tools/figures/cifar_repair.py resnet56_jpeg --passes 'layer-cka{rescore=none}' layer-cka
--removed 3 6 9 12 14 --json build/blocks.json

With ``--removed`` a pass decides once, for the largest count; ``deciding_seconds`` are those of that decision.
``--test 2000`` takes a fifth of the time, with a standard error of 0.7 points at 90 %.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from cifar import STANDARD_MEAN, STANDARD_STD, alignment, decode, prepared, shared_folder
from cifar_widths import accuracy

import graphprune
from graphprune import DataOptions, RecoveryOptions, RunOptions, RuntimeOptions, TimingOptions
from graphprune.errors import TargetNotReached
from graphprune.plan.plan import Plan
from graphprune.repair.stage import parse_methods

PASSES = ("layer-cka", "filter-magnitude", "filter-pls-vip", "filter-obs")
LEFT = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)
REPAIRS = ("none", "stats", "ridge", "stats,ridge")


def calibration(images: int, folder: Path) -> Path:
    """The first training images, without labels."""
    path = folder / f"standard-calibration-{images}.npz"
    if not path.is_file():
        train, _ = decode(shared_folder() / "data" / "cifar10_train_jpeg.npz", images)
        np.savez(path, images=(train - STANDARD_MEAN) / STANDARD_STD)
    return path


def decide(model: Path, spec: str, target: str, data: Path, align: int | Literal["auto"]) -> tuple[Plan, float]:
    """What goes, and the seconds of one core that it took to decide; the repair that follows is the default one."""
    started = time.process_time()
    options = RunOptions(
        align=align,
        data=DataOptions(samples=None),
        timing=TimingOptions(measure_latency=False),
        runtime=RuntimeOptions(threads=1),
    )
    plan = graphprune.prune(model, [spec], data, target, dry_run=True, options=options).plan
    return plan, time.process_time() - started


def first_blocks(plan: Plan, count: int) -> Plan:
    """A greedy pass with a smaller target would have stopped there."""
    decision = plan.decisions[0]
    return replace(plan, decisions=(replace(decision, blocks=decision.blocks[:count]),))


def measure(model: Path, plan: Plan, data: Path, test: tuple[np.ndarray, np.ndarray]) -> dict[str, Any]:
    """One row: the same removal, repaired in every way."""
    row: dict[str, Any] = {"top1": {}, "seconds": {}, "blocks": [block.name for block in plan.blocks]}
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "small.onnx"
        for text in REPAIRS:
            started = time.process_time()
            repairing = RunOptions(
                data=DataOptions(samples=None),
                timing=TimingOptions(measure_latency=False),
                recovery=RecoveryOptions(repair=parse_methods(text)),
                runtime=RuntimeOptions(threads=1),
            )
            result = graphprune.apply(model, plan, data, out, options=repairing)
            row["seconds"][text] = time.process_time() - started
            row["top1"][text] = accuracy(out, *test)
            row["macs_removed"] = 1 - result.after.macs / result.before.macs
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--passes", nargs="+", default=PASSES)
    parser.add_argument("--left", nargs="+", type=float, default=LEFT, help="shares of the MACs that stay")
    parser.add_argument("--removed", nargs="*", type=int, default=[], help="block counts, for layer passes, instead")
    parser.add_argument("--images", type=int, default=1024, help="to decide and repair with")
    parser.add_argument("--test", type=int, default=10_000, help="the first so many test images")
    parser.add_argument("--align", type=alignment, default=1, help="kept widths: a multiple, or auto")
    options = parser.parse_args()
    align = options.align
    folder = prepared()
    arrays = np.load(folder / "standard-test.npz")
    test = (arrays["images"][: options.test], arrays["labels"][: options.test])
    done: dict[str, dict[str, Any]] = json.loads(options.json.read_text()) if options.json.exists() else {}
    targets = [f"removed={count}" for count in options.removed] or [f"flops={left:g}" for left in options.left]
    data = calibration(options.images, folder)
    decided: dict[tuple[str, str], tuple[Plan, float]] = {}
    for name, spec, target in itertools.product(options.models, options.passes, targets):
        key = f"{name} | {spec} | {target} | {options.images} | {options.test} | align {align}"
        model = shared_folder() / "models" / f"{name}.onnx"
        if key not in done:
            try:
                if options.removed:
                    if (name, spec) not in decided:
                        decided[name, spec] = decide(model, spec, f"removed={max(options.removed)}", data, 1)
                    plan, seconds = decided[name, spec]
                    row = measure(model, first_blocks(plan, int(target.partition("=")[2])), data, test)
                else:
                    plan, seconds = decide(model, spec, target, data, align)
                    row = measure(model, plan, data, test)
                done[key] = row | {"deciding_seconds": seconds}
            except TargetNotReached as error:
                done[key] = {"why": error.message}
            options.json.write_text(json.dumps(done, indent=1))
        row = done[key]
        if "why" in row:
            print(f"| {key} | not reached: {row['why']} |", flush=True)
        else:
            figures = " | ".join(f"{100 * row['top1'][text]:.2f}" for text in REPAIRS)
            print(f"| {key} | {100 * row['macs_removed']:.1f} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
