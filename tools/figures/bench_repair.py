"""What a repair costs: seconds and peak memory of each method, each in a process of its own, and what it gives back.

    PYTHONPATH=build/models python tools/figures/bench_repair.py --smol build/smol --json build/bench_repair.json

On ResNet-56 (512 images) and, with ``--smol``, on SmolLM2 (``tools/figures/language_model.py`` makes that folder):
top-1, or agreement of the likeliest next token and perplexity, on WikiText-2. The decision is made once for each pass;
``graphprune apply`` carries it out with each repair. Resumes from its JSON file.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cifar import prepared as cifar_folder
from cifar import shared_folder

from graphprune.runtime.sessions import RuntimeOptions, open_session, run

REPAIRS = ("none", "stats", "ridge", "stats,ridge")
BATCH = 4
Quality = Callable[[Path], dict[str, float]]


@dataclass(frozen=True)
class Case:
    """A model with its calibration data, and what to ask for."""

    name: str
    model: Path
    data: Path
    samples: int
    batch: int
    spec: str
    target: str
    quality: Quality


class NextTokens:
    """Perplexity on pieces of text, and how often the likeliest next token is the original's."""

    def __init__(self, folder: Path) -> None:
        self._tokens: np.ndarray = np.load(folder / "test.npz")["input_ids"]
        self._original, self._first = folder / "smollm2.onnx", np.zeros(0)

    def __call__(self, path: Path) -> dict[str, float]:
        if not self._first.size:
            self._first, _ = self._read(self._original)
        likeliest, perplexity = self._read(path)
        return {"agreement": float(np.mean(likeliest == self._first)), "perplexity": perplexity}

    def _read(self, path: Path) -> tuple[np.ndarray, float]:
        session = open_session(path, RuntimeOptions(threads=1))
        likeliest, surprise = [], []
        for start in range(0, len(self._tokens), BATCH):
            tokens = self._tokens[start : start + BATCH]
            logits = run(session, {"input_ids": tokens})[0]
            likeliest.append(logits.argmax(-1))
            told = logits[:, :-1].astype(np.float64)
            whole = np.logaddexp.reduce(told, axis=-1)
            surprise.append(whole - np.take_along_axis(told, tokens[:, 1:, None], -1)[..., 0])
        return np.concatenate(likeliest), float(np.exp(np.mean(np.concatenate(surprise))))


def top1(path: Path) -> dict[str, float]:
    """Of a CIFAR-10 network on the 10,000 test images."""
    session = open_session(path, RuntimeOptions(threads=1))
    name = session.get_inputs()[0].name
    with np.load(cifar_folder() / "standard-test.npz") as test:
        images, labels = test["images"], test["labels"]
    chosen = [run(session, {name: images[i : i + 250]})[0].argmax(1) for i in range(0, len(images), 250)]
    return {"top1": float(np.mean(np.concatenate(chosen) == labels))}


def measured(words: list[str]) -> dict[str, float]:
    """Wall and processor seconds and peak memory of a process."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "graphprune", *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if (code := os.waitstatus_to_exitcode(status)) != 0:
        raise SystemExit(f"exit {code}: graphprune {' '.join(words)}")
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,
    }


def measure(case: Case, repair: str, plan: Path, folder: Path) -> dict[str, Any]:
    """One row."""
    data = ["--data", str(case.data), "--num-samples", str(case.samples), "--batch-size", str(case.batch)]
    common = [*data, "--threads", "1", "--quiet"]
    if not plan.exists():
        choice = [
            "--pass",
            case.spec,
            "--target",
            case.target,
            "--repair",
            "none",
            "--dry-run",
            "--plan-out",
            str(plan),
        ]
        measured([str(case.model), *choice, *common])
    out, told = folder / "small.onnx", folder / "told.json"
    cost = measured(
        [
            "apply",
            str(case.model),
            str(plan),
            "--repair",
            repair,
            "-o",
            str(out),
            "--json",
            str(told),
            "--no-bench",
            *common,
        ]
    )
    report = json.loads(told.read_text())["repair"]
    layers = report["layers"] if report else []
    return {
        **cost,
        "repair_seconds": report["seconds"] if report else 0.0,
        "kept": sum(layer["is_kept"] for layer in layers),
        "layers": layers,
        **case.quality(out),
    }


def cases(smol: Path | None) -> list[Case]:
    models, images = shared_folder() / "models", cifar_folder() / "standard-calibration.npz"
    resnet = ("resnet56_jpeg", models / "resnet56_jpeg.onnx", images, 512, 32)
    found = [
        Case(*resnet, "filter-obs", "flops=0.8", top1),
        Case(*resnet, "filter-magnitude", "flops=0.8", top1),
        Case(*resnet, "layer-cka", "removed=5", top1),
    ]
    if smol is not None:
        quality = NextTokens(smol)
        for samples, spec in ((32, "amp"), (32, "filter-obs"), (128, "amp")):
            model, data = smol / "smollm2.onnx", smol / "calibration.npz"
            found.append(Case("smollm2", model, data, samples, BATCH, spec, "params=0.8", quality))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smol", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--only", default="", help="only cases with this text in their names")
    options = parser.parse_args()
    done: dict[str, dict[str, Any]] = json.loads(options.json.read_text()) if options.json.exists() else {}
    print(
        "| case | repair | repair s | whole s | of that CPU | peak MiB | kept | quality "
        "|\n|---|---|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as temporary:
        for number, case in enumerate(cases(options.smol)):
            for repair in REPAIRS:
                key = f"{case.name}, {case.spec} {case.target}, {case.samples} samples | {repair}"
                if options.only not in key:
                    continue
                if key not in done:
                    done[key] = measure(case, repair, Path(temporary) / f"{number}.json", Path(temporary))
                    options.json.write_text(json.dumps(done, indent=1))
                row = done[key]
                quality = ", ".join(
                    f"{name} {row[name]:.4g}" for name in ("top1", "agreement", "perplexity") if name in row
                )
                print(
                    f"| {key} | {row['repair_seconds']:.1f} | {row['seconds']:.1f} | {row['cpu_seconds']:.1f} | "
                    f"{row['peak_mib']:.0f} "
                    f"| {row['kept']} of {len(row['layers'])} | {quality} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
