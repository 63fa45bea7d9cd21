"""``amp`` against other passes at a fifth of a decoder's parameters, each with the LoRA of AMP's recipe after it.

At paper size only, for a GPU; the work folder holds ``smol/``, which ``smollm2.py`` makes. Calibrated and trained on
the valid part of WikiText-2, judged on its test part as ``language_models.py`` does. Untrained: docs/measured.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from evidence_size import Row, Size, Task
from language_model_ours import cut, target
from language_model_quality import onnx_scores, perplexity
from language_model_row import Setting
from language_model_texts import CALIBRATION, TEST, prepared

METHODS = ("amp", "mop", "filter-obs", "layer-angular")
SHARE = 0.2
LAYERS = 8
"""Of SmolLM2-135M's 30: what is nearest to a fifth of all parameters."""
TRAINING = "recipe=amp"


def tasks(size: Size) -> Iterator[Task]:
    for method in METHODS if size.name == "paper" else ():
        yield {"method": method, "share": SHARE, "training": TRAINING}


def rows(task: Task, size: Size, work: Path) -> list[Row]:
    """Perplexity after the repair, and after the training."""
    import graphprune

    folder, method = work / "smol", task["method"]
    texts = prepared(folder / "hf" / "tokenizer.json", work / "texts.npz")
    setting = Setting(folder / "hf", folder / "genai" / "model.onnx", texts, work, threads=0, prove=False)
    with np.load(texts) as arrays:
        calibration, test = arrays[CALIBRATION], arrays[TEST]
    small, tuned = work / f"amp-{method}", work / f"amp-{method}-tuned"
    if not small.exists():
        goal = target(method, SHARE, LAYERS)
        cut(folder / "genai", method, goal, calibration, small, work / f"{method}.json", prove=False, threads=0)
    if not tuned.exists():
        graphprune.finetune(small, {"input_ids": calibration}, output=tuned, training=TRAINING)
    scores = (onnx_scores(each / "model.onnx", setting.head_size, 0) for each in (small, tuned))
    before, after = (perplexity(each, test) for each in scores)
    return [{"perplexity": before, "trained_perplexity": after}]
