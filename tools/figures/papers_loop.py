"""The papers' loop on CIFAR-10: remove one block by CKA, train, and again, down to two blocks a stage; then filters.

    python tools/figures/papers_loop.py --epochs 10 --minutes 8 --json build/papers_loop.json
    python tools/figures/papers_loop.py --tune build/cut/*.onnx --epochs 30 --json build/tuned.json

Starts from ``resnet56_jpeg.onnx``. Every round prunes the network that the round before left (its representation is the
reference), proves the removal, trains towards labels and the unpruned network,
and measures top-1 on the 10,000 test images. ``--tune`` trains given networks instead, each on its own. The JSON file
is written after every round; nothing new begins after ``--minutes``.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from cifar import prepared, shared_folder
from cifar_training import train
from cifar_widths import accuracy

import graphprune
from graphprune import RecoveryOptions, RunOptions, TimingOptions
from graphprune.data.dataset import load_data
from graphprune.errors import GraphpruneError
from graphprune.ir import export
from graphprune.ir.loading import load
from graphprune.training import TrainOptions, finetune

DEEPER = "filter-obs"  # when no block may go any more
SHARE = 0.9  # of the MACs that each of its rounds leaves


class Course:
    """Training data, test data, the unpruned network, and where results go."""

    def __init__(self, options: argparse.Namespace) -> None:
        import torch

        folder = prepared()
        self.calibration = folder / "standard-calibration.npz"
        test = np.load(folder / "standard-test.npz")
        self.images, self.labels = test["images"], test["labels"]
        self.dense = shared_folder() / "models" / "resnet56_jpeg.onnx"
        self.training = TrainOptions.parse(options.set, epochs=str(options.epochs))
        self.count = options.images
        self.json, self.rows = options.json, list[dict[str, Any]]()
        self.ends = time.monotonic() + 60 * options.minutes
        gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
        self.machine = {
            "gpu": gpu,
            "torch": torch.__version__,
            "processor": platform.processor(),
            "options": str(self.training),
            "images": options.images,
        }

    @property
    def is_over(self) -> bool:
        return bool(time.monotonic() > self.ends)

    def tuned(self, small: Path, out: Path) -> dict[str, Any]:
        """Train ``small`` into the file ``out``; what came of it."""
        began = time.monotonic()
        before = self.top1(small)
        model = load(small)
        data = load_data(_Again(self.count), model, None)
        trained, report = finetune(model, load(self.dense), data, self.training, lambda *_: None)
        export.write(trained, out)
        return {
            "before": before,
            "top1": self.top1(out),
            "held_out": report.epochs[report.kept].score,
            "kept_epoch": report.kept,
            "seconds": time.monotonic() - began,
            "epoch_seconds": [round(row.seconds, 2) for row in report.epochs[1:]],
        }

    def top1(self, path: Path) -> float:
        """Of all test images, on all cores."""
        share: float = accuracy(path, self.images, self.labels, threads=0)
        return share

    def note(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        self.json.write_text(json.dumps({"machine": self.machine, "rows": self.rows}, indent=1))
        print({key: value for key, value in row.items() if key != "epoch_seconds"}, flush=True)


class _Again:
    """The first ``count`` training images (all: None), as often as asked."""

    def __init__(self, count: int | None) -> None:
        self.count = count

    def __iter__(self) -> Any:
        return train(self.count)


def loop(course: Course) -> None:
    """One removal a round, until time is over or nothing may go."""
    whole = 0
    course.note({"removed": 0, "macs_removed": 0.0, "top1": course.top1(course.dense)})
    options = RunOptions(align=1, timing=TimingOptions(measure_latency=False), recovery=RecoveryOptions(repair=()))
    current, deeper = course.dense, False
    with tempfile.TemporaryDirectory() as folder:
        while not course.is_over:
            number = len(course.rows)
            small, tuned = Path(folder) / f"{number}.small.onnx", course.json.with_name(f"loop-{number}.onnx")
            spec, target = (DEEPER, f"flops={SHARE}") if deeper else ("layer-cka", "removed=1")
            try:
                result = graphprune.prune(current, [spec], course.calibration, target, small, options=options)
            except GraphpruneError as error:
                if deeper:
                    print(error.message)
                    return
                deeper = True
                continue
            whole = whole or result.before.macs
            units = [f"{each.group}: {len(each.removed)}" for each in result.plan.units]
            row = {"removed": number, "what": [block.name for block in result.plan.blocks] or units}
            row |= {"macs_removed": 1 - result.after.macs / whole, "prune_seconds": result.seconds}
            course.note(row | course.tuned(small, tuned))
            current = tuned


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=10, help="of each round")
    parser.add_argument("--set", default="", help="more training options")
    parser.add_argument("--images", type=int, help="to train with, the first so many; all: 50,000")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--tune", type=Path, nargs="*", default=[], help="networks to train instead")
    options = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("graphprune.training").setLevel(logging.INFO)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    course = Course(options)
    if not options.tune:
        loop(course)
    for path in options.tune:
        if not course.is_over:
            course.note({"network": path.stem} | course.tuned(path, course.json.with_name(f"{path.stem}.tuned.onnx")))


if __name__ == "__main__":
    main()
