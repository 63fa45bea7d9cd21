"""Activities from wearable sensors under the four protocols: dense and pruned, with leakage. Resumes from its file.

    python tools/figures/sensors.py UTD-MHAD2_1s --networks cnn --folds 3 --out build/sensors.jsonl
    python tools/figures/sensors.py --table build/sensors.jsonl

For every fold a network of ``models/sensor_networks.py`` is trained on the fold's training windows, then pruned to
shares of its MACs (the transformer by ``joint-cka``, layers against heads and neurons, the CNN by ``filter-obs``),
repaired and trained on for ``--after`` epochs on the same windows; the test windows are looked at for the scores alone.
The windows are the authors' (``GRAPHPRUNE_DATA``), whose folds are read without running anything that a pickle names.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from cifar import shared_folder

import graphprune
from graphprune import RecoveryOptions, RunOptions, RuntimeOptions, TimingOptions
from graphprune.ir.export import to_proto
from graphprune.protocols import Fold, fold_scores, leakage, over_folds
from graphprune.training import TrainOptions

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "models"))
from sensor_networks import KINDS, export, train

from tests.protocols.recordings import authors_folds

PROTOCOLS = ("SNOW", "FNOW", "LOSO", "LOTO")
PASSES = {"cnn": "filter-obs", "transformer": "joint-cka"}
LEFT = (0.7, 0.4, 0.2)
"""Shares of the MACs that stay: 30, 60 and 80 % gone."""

Row = dict[str, Any]


def windows(name: str, protocol: str) -> tuple[np.ndarray, np.ndarray, list[Fold]]:
    """Windows (n, 1, time, sensors) float32, labels (n,) int64, and the folds."""
    path = shared_folder() / "data" / "har" / protocol / f"{name}.npz"
    with np.load(path, allow_pickle=False) as arrays:
        x, y = arrays["X"].astype(np.float32), arrays["y"].argmax(1)
    return x, y, authors_folds(path)


def rows(name: str, protocol: str, kind: str, numbers: Sequence[int], epochs: int, after: int) -> Iterator[Row]:
    """Of each fold the dense network and those pruned from it."""
    x, y, folds = windows(name, protocol)
    classes = int(y.max()) + 1
    for number in numbers:
        fold = folds[number]
        about = {"data": name, "protocol": protocol, "network": kind, "fold": number, "epochs": epochs, "after": after}
        with tempfile.TemporaryDirectory() as folder:
            dense = Path(folder) / "dense.onnx"
            export(train(kind, x[fold.train], y[fold.train], classes, epochs, seed=number), x, dense)
            yield about | {"left": 1.0, **_scored(onnx.load(dense), x[fold.test], y[fold.test])}
            for left in LEFT:
                training = TrainOptions.parse(f"epochs={after},lr=0.01,augment=none") if after else None
                options = RunOptions(
                    timing=TimingOptions(measure_latency=False),
                    recovery=RecoveryOptions(finetune=training),
                    runtime=RuntimeOptions(threads=1),
                    align=1,
                )
                data = {"windows": x[fold.train], "labels": y[fold.train]}
                try:
                    result = graphprune.prune(dense, [PASSES[kind]], data, f"flops={left}", options=options)
                except graphprune.GraphpruneError as error:
                    yield about | {"left": left, "refused": str(error)}
                    continue
                assert result.model is not None
                found = _scored(to_proto(result.model), x[fold.test], y[fold.test])
                yield about | {"left": left, "reached": result.plan.reached, **found}


def _scored(model: onnx.ModelProto, x: np.ndarray, y: np.ndarray) -> Row:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    predicted = session.run(["logits"], {"windows": x})[0].argmax(1)
    return fold_scores(y, predicted)._asdict()


def table(found: Sequence[Row]) -> str:
    """Means over folds with 90 % intervals, in Markdown."""
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in found:
        groups[row["data"], row["protocol"], row["network"], row["left"]].append(row)
    lines = [
        "| data | protocol | leakage | network | MACs left | folds | accuracy % | macro recall % | macro F1 % |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    leaks: dict[tuple[str, str], float] = {}
    for (name, protocol, kind, left), each in groups.items():
        if (name, protocol) not in leaks:
            x, _, folds = windows(name, protocol)
            leaks[name, protocol] = leakage(x, folds)
        good = [row for row in each if "refused" not in row]
        figures = [over_folds([row[key] for row in good]) for key in ("accuracy", "recall", "f1")] if good else []
        cells = [f"{100 * figure.mean:.1f} ± {100 * figure.half_width:.1f}" for figure in figures] or ["refused"] * 3
        leak = f"{100 * leaks[name, protocol]:.1f} %"
        lines.append(f"| {name} | {protocol} | {leak} | {kind} | {left:g} | {len(good)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*")
    parser.add_argument("--protocols", nargs="+", choices=PROTOCOLS, default=PROTOCOLS)
    parser.add_argument("--networks", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--folds", type=int, help="the first so many of each protocol; default: all")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--after", type=int, default=10, help="epochs after each pruning")
    parser.add_argument("--out", type=Path, default=Path("build/sensors.jsonl"))
    parser.add_argument("--table", type=Path, help="print what such a file holds, and do nothing else")
    arguments = parser.parse_args()
    if arguments.table is not None:
        print(table([json.loads(line) for line in arguments.table.read_text().splitlines()]))
        return
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    lines = arguments.out.read_text().splitlines() if arguments.out.exists() else []
    done = {tuple(row[key] for key in ("data", "protocol", "network", "fold")) for row in map(json.loads, lines)}
    for name in arguments.data:
        for kind in arguments.networks:
            for protocol in arguments.protocols:
                count = len(windows(name, protocol)[2])
                numbers = range(min(count, arguments.folds or count))
                for number in numbers:
                    if (name, protocol, kind, number) in done:
                        continue
                    found = list(rows(name, protocol, kind, [number], arguments.epochs, arguments.after))
                    with arguments.out.open("a") as file:
                        file.writelines(json.dumps(row) + "\n" for row in found)


if __name__ == "__main__":
    main()
