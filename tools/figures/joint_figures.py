"""joint-cka down to a few percent of the MACs, against layers only and filters only. Resumes from its JSON file.

python tools/figures/joint_figures.py resnet56_jpeg --json build/joint.json

The trajectory is saved step by step. At every third of its steps the network is made from the plan so far,
repaired with all calibration images, and compared with ``layer-cka`` (CKA alone) and ``filter-obs`` at the same MACs:
top-1 on 2,000 test images, and latency on ONNX Runtime at batch 1.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from cifar import STANDARD_MEAN, STANDARD_STD, alignment, decode, shared_folder

import graphprune
from graphprune import RecoveryOptions, RunOptions, RuntimeOptions, TimingOptions
from graphprune.errors import TargetNotReached
from graphprune.pass_infra.context import Context
from graphprune.passes.joint_cka import JointCKA
from graphprune.pipeline.inspect import inspect_model
from graphprune.plan.plan import Decision, Plan
from graphprune.repair.stage import DEFAULT
from graphprune.report.result import Result

OPTIONS = RunOptions(
    batch=64,
    timing=TimingOptions(seconds=1.0, allow_slower=True),
    recovery=RecoveryOptions(repair=DEFAULT),
    runtime=RuntimeOptions(threads=1),
)


@dataclass(frozen=True)
class Recorded(JointCKA):
    """Leaves the plan so far in a file after every step."""

    into: ClassVar[Path]

    def decisions(self, context: Context) -> Iterator[Decision]:
        made: list[Decision] = []
        for decision in super().decisions(context):
            made.append(decision)
            reached = decision.trajectory[-1].macs / context.goal.dense.macs if decision.trajectory else 1.0
            Plan(context.model.sha256, tuple(made), "", reached, context.seed).save(self.into)
            print(f"step {len(made)}: {reached:.3f} of the MACs left", flush=True)
            yield decision


def packs(folder: Path, images: int) -> tuple[Path, Path]:
    """Calibration images without labels, test images with."""
    folder.mkdir(parents=True, exist_ok=True)
    calibration, test = folder / f"joint-calibration-{images}.npz", folder / "joint-test-2000.npz"
    if not (calibration.is_file() and test.is_file()):
        train, _ = decode(shared_folder() / "data" / "cifar10_train_jpeg.npz", images)
        held_out, labels = decode(shared_folder() / "data" / "cifar10_test_jpeg.npz", 2000)
        np.savez(calibration, images=(train - STANDARD_MEAN) / STANDARD_STD)
        np.savez(test, images=(held_out - STANDARD_MEAN) / STANDARD_STD, labels=labels)
    return calibration, test


def row(result: Result) -> dict[str, Any]:
    assert result.evaluation is not None and result.measurement is not None
    return {
        "macs_left": result.after.macs / result.before.macs,
        "params_left": result.after.params / result.before.params,
        "top1": result.evaluation.after,
        "top1_dense": result.evaluation.before,
        "blocks_gone": len(result.plan.blocks),
        "latency": asdict(result.measurement.comparison),
    }


def made(model: Path, plan: Plan, data: Path, options: RunOptions) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        return row(graphprune.apply(model, plan, data, Path(folder) / "small.onnx", options=options))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--left", type=float, default=0.14, help="share of the MACs to go down to")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--every", type=int, default=3, help="compare at every so many steps, and at the last")
    parser.add_argument("--spec", nargs="*", default=[], help="options of joint-cka, as key=value")
    parser.add_argument("--align", type=alignment, default="auto", help="kept widths: a multiple, or auto")
    given = parser.parse_args()
    model = shared_folder() / "models" / f"{given.model}.onnx"
    data, test = packs(given.json.parent, given.images)
    options = replace(OPTIONS, align=given.align, data=replace(OPTIONS.data, samples=given.images, evaluation=test))
    done: dict[str, Any] = json.loads(given.json.read_text()) if given.json.exists() else {}

    def keep(key: str, value: Any) -> None:
        done[key] = value
        given.json.write_text(json.dumps(done, indent=1))

    Recorded.into = given.json.with_suffix(".plan.json")
    if "trajectory" not in done:
        joint = Recorded.from_options(dict(item.split("=", 1) for item in given.spec))
        try:
            graphprune.prune(model, [joint], data, f"flops={given.left}", dry_run=True, options=options)
        except TargetNotReached as error:
            print(error.message)
        keep("trajectory", [asdict(step) for step in Plan.load(Recorded.into).trajectory])
    plan = Plan.load(Recorded.into)
    if "layers" not in done:
        fewer = replace(options, data=replace(options.data, samples=given.images // 2))
        try:
            layers = graphprune.prune(
                model, ["layer-cka{rescore=none}"], data, "flops=0.22", dry_run=True, options=fewer
            ).plan
        except TargetNotReached as error:
            raise SystemExit(error.message) from None
        layers.save(given.json.with_suffix(".layers.json"))
        keep("layers", len(layers.blocks))
    layers = Plan.load(given.json.with_suffix(".layers.json"))
    dense = inspect_model(model, None, options).cost.macs
    steps = len(plan.trajectory)
    for number in sorted({*range(given.every, steps + 1, given.every), steps}):
        macs = plan.trajectory[number - 1].macs
        if f"joint {number}" not in done:
            keep(f"joint {number}", made(model, replace(plan, decisions=plan.decisions[:number]), data, options))
        if f"filters {number}" not in done:
            try:
                result = graphprune.prune(model, ["filter-obs"], data, f"flops={macs / dense}", options=options)
                keep(f"filters {number}", row(result))
            except TargetNotReached as error:
                print(error.message)
        gone = np.cumsum([block.macs for block in layers.blocks])
        count = int(np.argmin(np.abs(dense - gone - macs))) + 1
        if f"layers {number}" not in done and dense - gone[-1] < macs * 1.05:
            prefix = replace(layers.decisions[0], blocks=layers.blocks[:count])
            keep(f"layers {number}", made(model, replace(layers, decisions=(prefix,)), data, options))
        for kind in ("joint", "filters", "layers"):
            if found := done.get(f"{kind} {number}"):
                ratio = found["latency"]["ratio"]
                print(
                    f"{number:3} {kind:8} {found['macs_left']:.3f} {100 * found['top1']:.2f} {1 / ratio:.2f}x",
                    flush=True,
                )


if __name__ == "__main__":
    main()
