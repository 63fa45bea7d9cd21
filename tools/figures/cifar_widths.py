"""Filters cut from the CIFAR-10 ResNets without any training: top-1 and measured latency. Resumes from its JSON file.

python tools/figures/cifar_widths.py resnet56 resnet20 --json build/cifar_widths.json
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
from cifar import prepared, shared_folder

import graphprune
from graphprune import RunOptions, RuntimeOptions, TimingOptions
from graphprune.runtime.sessions import open_session, run

PASSES = ("filter-magnitude", "filter-magnitude{scope=group}", "filter-pls-vip", "filter-pls-vip{scope=group}")
LEFT = (0.9, 0.8, 0.7, 0.5)
ALIGNS: tuple[Literal["auto"] | int, ...] = (1, "auto")


def accuracy(path: Path, images: np.ndarray, labels: np.ndarray, batch: int = 250, threads: int = 1) -> float:
    """Top-1 of a model file; ``threads=0`` takes every core."""
    session = open_session(path, RuntimeOptions(threads=threads))
    name = session.get_inputs()[0].name
    chosen = [run(session, {name: images[i : i + batch]})[0].argmax(1) for i in range(0, len(images), batch)]
    return float(np.mean(np.concatenate(chosen) == labels))


def measure(
    model: Path, spec: str, left: float, align: Literal["auto"] | int, folder: Path, seconds: float
) -> dict[str, Any]:
    """One row: what the command does with these options."""
    options = RunOptions(align=align, timing=TimingOptions(seconds=seconds), runtime=RuntimeOptions(threads=1))
    test = np.load(folder / "standard-test.npz")
    images = next(test[name] for name in test.files if test[name].ndim == 4)
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "small.onnx"
        calibration = folder / "standard-calibration.npz"
        try:
            result = graphprune.prune(model, [spec], calibration, f"flops={left}", out, options=options)
        except graphprune.errors.TargetNotReached as error:
            return {"why": error.message}
        assert result.measurement is not None and result.validation is not None  # both were asked for
        times = result.measurement.comparison
        return {
            "macs_removed": 1 - result.after.macs / result.before.macs,
            "params_removed": 1 - result.after.params / result.before.params,
            "top1": accuracy(out, images, test["labels"]),
            "time_ratio": times.ratio,
            "interval": [times.ratio_low, times.ratio_high],
            "error": result.validation.max_relative_error,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each timing")
    options = parser.parse_args()
    folder = prepared()
    done: dict[str, dict[str, Any]] = json.loads(options.json.read_text()) if options.json.exists() else {}
    for name, spec, left, align in itertools.product(options.models, PASSES, LEFT, ALIGNS):
        key = f"{name} | {spec} | {left} | {align}"
        if key not in done:
            model = shared_folder() / "models" / f"{name}.onnx"
            done[key] = measure(model, spec, left, align, folder, options.seconds)
            options.json.write_text(json.dumps(done, indent=1))
        row = done[key]
        if "why" in row:
            print(f"| {key} | not reached: {row['why']} |", flush=True)
        else:
            low, high = row["interval"]
            print(
                f"| {key} | {100 * row['macs_removed']:.1f} | {100 * row['params_removed']:.1f} | "
                f"{100 * row['top1']:.2f} "
                f"| {row['time_ratio']:.3f} [{low:.3f}, {high:.3f}] |",
                flush=True,
            )


if __name__ == "__main__":
    main()
