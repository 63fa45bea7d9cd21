"""What label-free healing gives back on a CIFAR-10 ResNet: top-1 on test images before and after, a JSON line a row.

    python tools/figures/heal.py --rows nine-blocks blocks-56 filters-50 --heal 600 --out build/heal.jsonl
    python tools/figures/heal.py --rows onnxsim-50 torch-pruning-50 --heal 600 --out build/heal.jsonl

Each row is a process of its own, so that its processor seconds are its own; those in the file already are left out. The
images to decide and repair with are the first of the training set, those to heal on, ``--images``, as well; the 512
behind them judge the steps. No label is looked at but those of the test images. The rivals' files are healed by the
same command; Torch-Pruning's lose the names of the joins, so that their outputs alone are learnt. A file that is in
``--work`` already is not made again.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from cifar import STANDARD_MEAN, STANDARD_STD, decode, shared_folder
from cifar_repair import calibration
from cifar_widths import accuracy
from row_log import made_apart, rows_of

import graphprune
from graphprune import DataOptions, RunOptions, RuntimeOptions, TimingOptions

_JUDGES = 512
OURS = {
    "nine-blocks": ("layer-cka", "removed=9"),
    "blocks-56": ("layer-cka", "flops=0.44"),
    "blocks-75": ("layer-cka", "flops=0.25"),
    "filters-30": ("filter-obs", "flops=0.7"),
    "filters-50": ("filter-obs", "flops=0.5"),
    "filters-70": ("filter-obs", "flops=0.3"),
}
RIVALS = ("onnxsim", "torch-pruning")
"""Followed by a dash and the percentage of MACs to remove, about."""


def prune(row: str, model: Path, data: Path, out: Path) -> None:
    """Decide, cut and repair by closed form."""
    if row in OURS:
        spec, target = OURS[row]
        options = RunOptions(
            align=1,
            data=DataOptions(samples=None),
            timing=TimingOptions(measure_latency=False),
            runtime=RuntimeOptions(threads=1),
        )
        graphprune.prune(model, spec, data, target, out, options=options)
        return
    from rivals import Images, torch_pruning_models

    tool, _, percent = row.rpartition("-")
    if tool == "torch-pruning":
        models = torch_pruning_models(model, Images(1024, 1), "magnitude")
        onnx.save(next(repaired for removed, _, repaired in models if removed >= int(percent) / 100), out)
        return
    import onnxsim

    simple, _ = onnxsim.simplify(onnx.load(model))
    images = np.load(data)["images"]
    batches = [{simple.graph.input[0].name: images[i : i + 128]} for i in range(0, len(images), 128)]
    onnx.save(
        onnxsim.apply_structured_wanda_pruning(simple, calibration_data=batches, sparsity=int(percent) / 100), out
    )


def measure(row: str, options: argparse.Namespace) -> dict[str, Any]:
    """Prune where that is not done yet, heal, and judge on the test images."""
    model, work = shared_folder() / "models" / f"{options.model}.onnx", options.work
    work.mkdir(parents=True, exist_ok=True)
    small, done = work / f"{options.model}.{row}.onnx", work / f"{options.model}.{row}.healed.onnx"
    pruning = None
    if not small.exists():
        started = time.process_time()
        prune(row, model, calibration(options.calibration, work), small)
        pruning = time.process_time() - started
    images, _ = decode(shared_folder() / "data" / "cifar10_train_jpeg.npz", options.images + _JUDGES)
    images = (images - STANDARD_MEAN) / STANDARD_STD
    test, labels = decode(shared_folder() / "data" / "cifar10_test_jpeg.npz", options.test)
    test = (test - STANDARD_MEAN) / STANDARD_STD
    name = onnx.load(small).graph.input[0].name
    judges: Mapping[str, np.ndarray] = {name: images[-_JUDGES:]}
    about = RunOptions(data=DataOptions(evaluation=judges), runtime=RuntimeOptions(threads=1))
    started = time.process_time()
    spec = f"seed={options.seed}"
    healed = graphprune.heal(
        small, model, {name: images[:-_JUDGES]}, done, budget=options.heal, training=spec, options=about
    )
    seconds = time.process_time() - started
    report = healed.report
    return {
        "row": row,
        "model": options.model,
        "heal": options.heal,
        "images": options.images,
        "seed": options.seed,
        "test": options.test,
        "macs_removed": 1 - _macs(small) / _macs(model),
        "repaired": accuracy(small, test, labels),
        "healed": accuracy(done, test, labels),
        "held_out_loss": [report.before.held_out_loss, report.after.held_out_loss],
        "kept": report.kept,
        "options": report.options,
        "pruning_seconds": pruning,
        "healing_seconds": seconds,
        "wall_seconds": report.seconds,
        "processor": platform.processor() or platform.machine(),
        "versions": {each: importlib.metadata.version(each) for each in ("torch", "onnxruntime", "numpy")},
    }


def _macs(path: Path) -> int:
    macs: int = graphprune.inspect(path).cost.macs
    return macs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", default=list(OURS), help=f"{', '.join(OURS)}; {', '.join(RIVALS)}-PERCENT")
    parser.add_argument("--model", default="resnet56_jpeg")
    parser.add_argument("--heal", default="600", help="steps, a time, or auto")
    parser.add_argument("--calibration", type=int, default=1024, help="images to decide and repair with")
    parser.add_argument("--images", type=int, default=15_000, help="images to heal on")
    parser.add_argument("--test", type=int, default=10_000, help="the first so many test images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("build/heal"))
    parser.add_argument("--out", type=Path, default=Path("build/heal.jsonl"))
    parser.add_argument("--one", action="store_true", help="measure in this process, and print the line alone")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.rows[0], options)))
        return
    done = {(each["row"], each["heal"], each["images"], each["seed"]) for each in rows_of(options.out)}
    for row in options.rows:
        if (row, options.heal, options.images, options.seed) in done:
            continue
        words = ["--rows", row]
        for name in ("model", "heal", "calibration", "images", "test", "seed", "work"):
            words += [f"--{name}", str(getattr(options, name))]
        made_apart(__file__, words, options.out)


if __name__ == "__main__":
    main()
