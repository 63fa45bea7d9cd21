"""Ask for latencies and see what comes: asked, reached, how far off, on 30 networks of the zoo and the shipped one.

    python tools/figures/latency_targets.py results.json          one thread; goes on where an earlier run stopped
    python tools/figures/latency_targets.py results.json --table  the table, as Markdown

Every file that was written is timed again by another process, ``graphprune bench``: that is what counts.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from zoo_files import Network, network

import graphprune
from graphprune import DataOptions, RecoveryOptions, RunOptions, RuntimeOptions, TimingOptions
from graphprune.errors import GraphpruneError
from graphprune.latency.closing import TOLERANCE

TARGETS = ("latency=0.9", "latency=0.75", "latency=0.6", "latency=0.5")
MORE = (
    "resnet_bottleneck",
    "resnet_preact",
    "resnet_se",
    "vgg",
    "convnext",
    "wide_resnet",
    "resnext",
    "regnet_x",
    "res2net",
    "regnet_y",
    "densenet",
    "googlenet",
    "csp_darknet",
    "mobilenet_v1",
    "mobilenet_v3",
    "efficientnet_v2",
    "shufflenet_v2",
    "unet",
    "hrnet",
)
"""Exports of the zoo that take images, by ``filter-magnitude``."""
CASES = (
    ("shipped", "filter-magnitude"),
    ("shipped", "layer-cka"),
    ("light_squeezenet", "filter-magnitude"),
    ("light_shufflenet", "filter-magnitude{widths=true}"),
    ("light_inception_v2", "filter-magnitude"),
    ("light_resnet50", "filter-magnitude"),
    ("light_densenet121", "filter-magnitude"),
    ("light_zfnet512", "filter-magnitude"),
    ("resnet_v1", "filter-magnitude"),
    ("mobilenet_v2", "filter-magnitude"),
    ("bert", "amp"),
    ("vit", "neuron-projection"),
    *((name, "filter-magnitude") for name in MORE),
)
BATCH = 16
MODELS = Path(__file__).resolve().parents[2] / "models"


def one(net: Network, spec: str, target: str, seconds: float, cache: Path) -> dict[str, Any]:
    """One row: as the run told it, and as another process does."""
    options = RunOptions(
        data=DataOptions(samples=64),
        timing=TimingOptions(batch=net.batch, seconds=seconds, cache_dir=cache, allow_slower=True),
        recovery=RecoveryOptions(repair=()),
        runtime=RuntimeOptions(threads=1),
    )
    asked, started = float(target.partition("=")[2]), time.perf_counter()
    row: dict[str, Any] = {"network": net.name, "pass": spec, "asked": asked}
    small = cache / "small.onnx"
    try:
        result = graphprune.prune(net.path, [spec], net.data, target, small, options=options)
    except GraphpruneError as error:
        return row | {"error": error.message, "seconds": time.perf_counter() - started}
    seconds_taken, again = time.perf_counter() - started, timed_again(net, small)
    assert result.measurement is not None
    times = result.measurement.comparison
    return row | {
        "reached": result.plan.reached,
        "interval": [times.ratio_low, times.ratio_high],
        "dense_ms": times.first.median_ms,
        "again": again["ratio"],
        "again_interval": [again["ratio_low"], again["ratio_high"]],
        "off": again["ratio"] / asked - 1,
        "macs_left": result.after.macs / result.before.macs,
        "notes": [note for note in result.notes if "latency" in note],
        "seconds": seconds_taken,
    }


def timed_again(net: Network, small: Path) -> dict[str, Any]:
    """The comparison of the two files by ``graphprune bench``, in a process of its own."""
    command = [sys.executable, "-m", "graphprune", "bench", str(net.path), str(small), "--json", "-"]
    command += ["--batch", str(net.batch), "--threads", "1"]
    with tempfile.TemporaryDirectory() as folder:
        samples = Path(folder) / "samples.npz"
        np.savez(samples, **{name: values[: net.batch] for name, values in net.data.items()})
        told = subprocess.run([*command, "--data", str(samples)], stdout=subprocess.PIPE, text=True, check=True).stdout
    comparison: dict[str, Any] = json.loads(told)["measurements"][0]["comparison"]
    return comparison


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a line per network and pass, a column per target."""
    asked = [float(target.partition("=")[2]) for target in TARGETS]
    lines = [
        "| network, pass | ms | " + " | ".join(f"{value:g}" for value in asked) + " |",
        "|---" * (2 + len(asked)) + "|",
    ]
    for name, spec in dict.fromkeys((row["network"], row["pass"]) for row in rows):
        mine = {row["asked"]: row for row in rows if (row["network"], row["pass"]) == (name, spec)}
        dense = next((f"{row['dense_ms']:.2f}" for row in mine.values() if "dense_ms" in row), "")
        cells = [_cell(mine.get(value)) for value in asked]
        lines.append(f"| {name}, `{spec}` | {dense} | {' | '.join(cells)} |")
    done = [row for row in rows if "reached" in row]
    close = sum(abs(row["off"]) <= TOLERANCE for row in done)
    coarse = sum(abs(row["off"]) > TOLERANCE and bool(row["notes"]) for row in done)
    refused = len(rows) - len(done)
    lines.append(
        f"\n{len(rows)} asked, {refused} out of reach and refused, {close} of {len(done)} within 3 %, {coarse} others "
        f"told so"
    )
    return "\n".join(lines)


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    return f"{row['again']:.3f}" if "again" in row else "refused"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each timing")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = json.loads(options.results.read_text()) if options.results.exists() else []
    if options.table:
        print(table(rows))
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, spec in CASES:
            done = {row["asked"] for row in rows if (row["network"], row["pass"]) == (name, spec)}
            missing = [target for target in TARGETS if float(target.partition("=")[2]) not in done]
            if not missing:
                continue
            if name == "shipped":
                net = Network(name, MODELS / "fashion_resnet32.onnx", _shipped_data(), 1)
            else:
                net = network(name, folder, BATCH)
            for target in missing:
                rows.append(one(net, spec, target, options.seconds, folder))
                options.results.write_text(json.dumps(rows, indent=1))
                print(json.dumps(rows[-1]), flush=True)
    print(table(rows))


def _shipped_data() -> dict[str, Any]:
    return {"input": np.load(MODELS / "fashion_calibration.npz")["input"]}


if __name__ == "__main__":
    main()
