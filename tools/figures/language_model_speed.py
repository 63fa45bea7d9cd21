"""Tokens per second of SmolLM2-135M without layers or neurons, float32 and int4, beside the dense network.

    python tools/figures/language_model_speed.py build/smol --work build/speed --markdown build/speed.md

The folder is that of ``smollm2.py``. What goes is found by the cheapest means, without a refit: times do not hang on
which layer or neuron it is. int4 is made by onnxruntime-genai's builder from what ``apply-hf`` writes. Both files of a
line run in turn in one process, so that another job on the machine slows both; rows that are there are not made again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from language_model_ours import unproved
from language_model_quality import onnx_parameters
from smollm2 import genai_folder

LAYERS = (3, 6, 9)
NEURONS = (0.25, 1 / 3, 0.5)
PRECISIONS = ("fp32", "int4")
POINTS = "16:256,512:128"

Row = dict[str, Any]


def pruned(folder: Path, kind: str, amount: float, out: Path) -> Path:
    """``fp32/`` and ``int4/`` in ``out``, without so many layers or this share of the neurons of each."""
    import numpy as np

    import graphprune
    from graphprune import RecoveryOptions, RunOptions, TimingOptions
    from graphprune.pipeline.apply_hf import apply_hf

    if (out / "int4").exists():
        return out
    out.mkdir(parents=True, exist_ok=True)
    spec, goal = {
        "layers": ("layer-angular{unit=layer}", f"removed={amount:g}"),
        "neurons": ("filter-magnitude{scope=group,include=*mlp*}", f"ratio={amount:.6g}"),
    }[kind]
    ids = {"input_ids": np.random.default_rng(0).integers(3, 500, (2, 64))}
    options = RunOptions(
        batch=2, align=1, timing=TimingOptions(measure_latency=False), recovery=RecoveryOptions(repair=())
    )
    plan, small = out / "plan.json", out / "fp32"
    with unproved():
        graphprune.prune(folder / "genai", spec, ids, goal, small, options=options).plan.save(plan)
    apply_hf(plan, folder / "hf", out / "hf", folder / "genai", small)
    genai_folder(out / "hf", out / "int4", "int4")
    return out


def timed(dense: Path, small: Path, points: str, threads: int) -> list[Row]:
    """A row for each point: times of the dense decoder and of the small one over them, with 95 % intervals."""
    from graphprune import RunOptions, RuntimeOptions
    from graphprune.generation.points import parse_points
    from graphprune.pipeline.generate import benchmark_generation

    options = RunOptions(runtime=RuntimeOptions(threads=threads))
    (measured,) = benchmark_generation(dense, small, options, points=parse_points(points))
    return [
        {
            "prompt": point.prompt,
            "new": point.new,
            "tokens_per_s": point.tokens_per_s,
            "speed_up": _gain(point.per_token),
            "first_token_ms": [point.first_token.first.median_ms, point.first_token.second.median_ms],
            "first_token_speed_up": _gain(point.first_token),
            "pairs": point.wall.pairs,
            "environment": dict(measured.environment),
        }
        for point in measured.points
    ]


def _gain(comparison: Any) -> tuple[float, float, float]:
    """How many times faster, and the ends of the interval."""
    return 1 / comparison.ratio, 1 / comparison.ratio_high, 1 / comparison.ratio_low


def markdown(rows: Sequence[Row]) -> str:
    heads = ["gone", "parameters left", "precision", "prompt, new", "tokens/s: dense, small", "speed-up"]
    heads += ["first token, ms: dense, small", "speed-up"]
    lines = []
    for row in rows:
        slow, fast = row["tokens_per_s"]
        lines.append(
            [
                f"{row['amount']:g} layers"
                if row["kind"] == "layers"
                else f"{100 * row['amount']:.0f} % of the neurons",
                f"{100 * row['left']:.1f} %",
                row["precision"],
                f"{row['prompt']}, {row['new']}",
                f"{slow:.1f}, {fast:.1f}",
                _interval(row["speed_up"]),
                "{:.0f}, {:.0f}".format(*row["first_token_ms"]),
                _interval(row["first_token_speed_up"]),
            ]
        )
    cells = [f"| {' | '.join(line)} |\n" for line in [heads, *lines]]
    return "".join([cells[0], "|---" * len(heads) + "|\n", *cells[1:]])


def _interval(gain: Sequence[float]) -> str:
    return "{:.2f}x ({:.2f} to {:.2f})".format(*gain)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds hf/ and genai/")
    parser.add_argument("--work", type=Path, default=Path("build/speed"))
    parser.add_argument("--layers", nargs="*", type=int, default=LAYERS)
    parser.add_argument("--neurons", nargs="*", type=float, default=NEURONS, help="shares of each layer's")
    parser.add_argument("--precisions", nargs="*", default=PRECISIONS, choices=PRECISIONS)
    parser.add_argument("--points", default=POINTS, help="PROMPT:NEW,...")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--markdown", type=Path)
    words = parser.parse_args()
    path = words.work / "rows.jsonl"
    rows: list[Row] = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    dense = {"fp32": words.folder / "genai", "int4": words.work / "dense-int4"}
    if not dense["int4"].exists():
        genai_folder(words.folder / "hf", dense["int4"], "int4")
    whole = onnx_parameters(dense["fp32"] / "model.onnx")
    for kind, amount in [("layers", float(n)) for n in words.layers] + [("neurons", share) for share in words.neurons]:
        for precision in words.precisions:
            names = {"kind": kind, "amount": amount, "precision": precision}
            if any(names.items() <= row.items() for row in rows):
                continue
            small = pruned(words.folder, kind, amount, words.work / f"{kind}-{amount:.3g}")
            left = onnx_parameters(small / "fp32" / "model.onnx") / whole
            found = timed(dense[precision], small / precision, words.points, words.threads)
            rows += [names | {"left": left} | row for row in found]
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if words.markdown:
        words.markdown.write_text(markdown(rows))


if __name__ == "__main__":
    main()
