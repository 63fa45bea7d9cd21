"""One row of ``language_models.py``: a method at a share, how long it decided, and what is left of the decoder."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import language_model_onnxsim
import language_model_ours as ours
import language_model_texts
import numpy as np
from language_model_quality import (
    Scores,
    checkpoint_parameters,
    layer_count,
    onnx_parameters,
    onnx_scores,
    peak_mib,
    perplexity,
    torch_parameters,
    torch_scores,
)
from language_model_rivals import RIVALS, Calibration
from language_model_texts import CALIBRATION, DOCS, TEST

DENSE, DENSE_TORCH = "dense", "dense, torch"
ONNXSIM = "onnxsim"

Row = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """``hf`` is a transformers folder, ``model`` the same decoder as onnxruntime-genai's builder writes it;
    ``texts`` is the .npz of :mod:`language_model_texts`. Pruned folders and plans of ours stay in ``work``.
    """

    hf: Path
    model: Path
    texts: Path
    work: Path
    threads: int
    prove: bool

    @property
    def head_size(self) -> int:
        return int(self._config["head_dim"])

    @property
    def layers(self) -> int:
        return int(self._config["num_hidden_layers"])

    @property
    def _config(self) -> dict[str, Any]:
        config: dict[str, Any] = json.loads((self.hf / "config.json").read_text())
        return config

    def chunks(self, name: str) -> np.ndarray:
        with np.load(self.texts) as arrays:
            found: np.ndarray = arrays[name]
        return found


def measured(method: str, share: float, setting: Setting) -> Row:
    """Everything of a row but its names."""
    if method in (*ours.SPECS, *ours.TRAINED, DENSE, ONNXSIM):
        facts: Row = {}
        path = setting.model / "model.onnx"
        if method in ours.TRAINED:
            facts, path = _trained(method, share, setting)
        elif method != DENSE:
            facts, path = (_onnxsim if method == ONNXSIM else _ours)(method, share, setting)
        scores = onnx_scores(path, setting.head_size, setting.threads)
        return facts | {"parameters": onnx_parameters(path)} | _quality(scores, setting)
    model = _loaded(setting)
    facts = {} if method == DENSE_TORCH else _rival(method, share, model, setting)
    return facts | {"parameters": torch_parameters(model)} | _quality(torch_scores(model), setting)


def _quality(scores: Scores, setting: Setting) -> Row:
    return {"perplexity": {name: perplexity(scores, setting.chunks(name)) for name in (TEST, DOCS)}}


def _loaded(setting: Setting) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(setting.threads)
    model: Any = AutoModelForCausalLM.from_pretrained(setting.hf, dtype=torch.float32)
    return model.eval()


def _ours(method: str, share: float, setting: Setting) -> tuple[Row, Path]:
    """Decided once: what lies in the row's folder is measured, not made again."""
    folder = setting.work / f"{method}-{share:g}"
    told = folder / "decided.json"
    if not told.exists():
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was cut short
        folder.mkdir(parents=True)
        model, plan = folder / "model", folder / "plan.json"
        whole, layer = (checkpoint_parameters(setting.hf, prefix) for prefix in ("", "model.layers.0."))
        goal = ours.target(method, share, layer_count(whole, layer, share))
        ids, started = setting.chunks(CALIBRATION), _Clock()
        made = ours.cut(setting.model, method, goal, ids, model, plan, prove=setting.prove, threads=setting.threads)
        facts = started.facts() | {"goal": goal, "repair": made.repair, "proved": made.is_proved}
        told.write_text(json.dumps(facts))
    return json.loads(told.read_text()), folder / "model" / "model.onnx"


def _trained(method: str, share: float, setting: Setting) -> tuple[Row, Path]:
    """What has been decided and refitted, after the training; its seconds are those of the training."""
    facts, path = _ours(ours.TRAINED[method], share, setting)
    out = setting.work / f"{path.parent.parent.name}-{ours.STEPS}"
    told = out.with_suffix(".json")
    if not told.exists():
        started = _Clock()
        ours.trained(path.parent, setting.model, language_model_texts.training_text(), out, setting.threads)
        told.write_text(json.dumps(started.facts()))
    return facts | json.loads(told.read_text()), out / "model.onnx"


def _onnxsim(method: str, share: float, setting: Setting) -> tuple[Row, Path]:
    folder = setting.work / f"{method}-{share:g}"
    folder.mkdir(parents=True, exist_ok=True)
    path, started = folder / "model.onnx", _Clock()
    mlps = sum(checkpoint_parameters(setting.hf, f"model.layers.{each}.mlp.") for each in range(setting.layers))
    sparsity = share * checkpoint_parameters(setting.hf) / mlps
    chunks = setting.chunks(CALIBRATION)
    facts = language_model_onnxsim.cut(setting.model / "model.onnx", chunks, setting.head_size, sparsity, path)
    return started.facts() | facts, path


def _rival(method: str, share: float, model: Any, setting: Setting) -> Row:
    calibration = Calibration(setting.chunks(CALIBRATION), setting.work / "moments.npz")
    shared = calibration.moments(model) if calibration.kept.exists() else None
    started = _Clock(shared.seconds, shared.processor_seconds, shared.peak_mib) if shared else _Clock()
    RIVALS[method](model, calibration, share)
    return started.facts()


class _Clock:
    """Wall and processor seconds since it was made, and the peak of the process; with those of work done before."""

    def __init__(self, wall_before: float = 0.0, processor_before: float = 0.0, peak_mib_before: int = 0) -> None:
        self._wall, self._processor = time.perf_counter() - wall_before, time.process_time() - processor_before
        self._peak_mib = peak_mib_before

    def facts(self) -> Row:
        return {
            "seconds": round(time.perf_counter() - self._wall, 1),
            "processor_seconds": round(time.process_time() - self._processor, 1),
            "peak_mib": max(peak_mib(), self._peak_mib),
        }
