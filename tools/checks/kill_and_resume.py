"""Kill a training run at random moments (SIGKILL), resume it each time, and compare with the run that nobody disturbed.

    python tools/checks/kill_and_resume.py --kills 5

Trains the shipped network with half of its filters gone on a few hundred images.
The written models must be equal bit by bit and every epoch must have the same figures, or the exit code is 1.
``--threads`` is the same for all runs: sums of floats depend on it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_MODELS = Path(__file__).parents[2] / "models"
_LONGEST_LIFE = 0.15  # of the undisturbed run's time beyond a new checkpoint, so that a run lives through several kills
_COMMAND = (
    "from graphprune.cli import main; from graphprune.cli.finetune import finetune; "
    "main.cli.add_command(finetune); main.entry()"
)


def start(words: list[str], threads: int) -> subprocess.Popen[bytes]:
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    return subprocess.Popen([sys.executable, "-c", _COMMAND, *words], env=environment, stdout=subprocess.DEVNULL)


def saved(checkpoint: Path) -> int:
    """When it was written; 0 = never."""
    return checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0


def live(run: subprocess.Popen[bytes], checkpoint: Path, longer: float) -> bool:
    """Wait until the run has written a checkpoint of its own, and ``longer`` seconds more; False if it ended before."""
    before = saved(checkpoint)
    while saved(checkpoint) == before and run.poll() is None:
        time.sleep(0.05)
    try:
        run.wait(longer)
    except subprocess.TimeoutExpired:
        return True
    return False


def finish(words: list[str], threads: int) -> float:
    """Run to the end; returns seconds."""
    began = time.monotonic()
    if code := start(words, threads).wait():
        sys.exit(f"the run failed with exit code {code}: {' '.join(words)}")
    return time.monotonic() - began


def told(folder: Path, name: str) -> tuple[str, Any, dict[str, Any]]:
    """Digest of the model, figures of the epochs without their times, the whole report."""
    report = json.loads((folder / f"{name}.json").read_text())
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in report["epochs"]]
    return hashlib.sha256((folder / f"{name}.onnx").read_bytes()).hexdigest(), rows, report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    moments = random.Random(options.seed)
    dense, data = str(_MODELS / "fashion_resnet32.onnx"), str(_MODELS / "fashion_eval.npz")
    with tempfile.TemporaryDirectory(prefix="kill-and-resume-") as name:
        folder = Path(name)
        small = str(folder / "small.onnx")
        finish([dense, "--pass", "filter-magnitude", "--target", "flops=0.5", "--no-bench", "-q", "-o", small], 0)
        words = ["finetune", small, "--teacher", dense, "--data", data, "--num-samples", str(options.samples), "-q"]
        words += ["--epochs", str(options.epochs), "--batch-size", "32", "--set", "checkpoint-seconds=0.5"]
        whole = finish([*words, "-o", f"{folder}/whole.onnx", "--json", f"{folder}/whole.json"], options.threads)
        print(f"undisturbed: {whole:.1f} s")
        words += ["--resume", "-o", f"{folder}/torn.onnx", "--json", f"{folder}/torn.json"]
        kills = 0
        while kills < options.kills:
            run = start(words, options.threads)
            wait = moments.uniform(0, _LONGEST_LIFE * whole)
            if live(run, folder / "torn.onnx.checkpoint", wait):
                run.send_signal(signal.SIGKILL)
                run.wait()
                kills += 1
                print(f"  kill {kills}, {wait:.1f} s after its first checkpoint", flush=True)
            else:
                print("  ended before it could be killed; all begins anew")
                (folder / "torn.onnx").unlink()
                kills = 0  # all kills are to hit one and the same run
        finish(words, options.threads)
        (one, rows, _), (other, torn_rows, report) = told(folder, "whole"), told(folder, "torn")
        left = sorted(path.name for path in folder.iterdir() if "checkpoint" in path.name or path.name.startswith("."))
    print(f"undisturbed {one[:16]}, killed {kills} times {other[:16]}; resumed in epoch {report['resumed_at']}")
    print(
        f"held-out score {report['epochs'][0]['score']:.4f} -> {max(row['score'] for row in rows):.4f}; files left: "
        f"{left}"
    )
    is_same = one == other and rows == torn_rows and not left
    print("same model, same figures, nothing left behind" if is_same else "DIFFERENT")
    sys.exit(not is_same)


if __name__ == "__main__":
    main()
