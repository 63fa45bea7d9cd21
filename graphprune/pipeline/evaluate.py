"""Models side by side."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from graphprune.errors import OptionError
from graphprune.evaluation.robustness_report import RobustnessReport
from graphprune.evaluation.side_by_side import EvaluationOptions, evaluate_models
from graphprune.model_folder.layout import model_file
from graphprune.run.loaded import check_source


def evaluate(*models: str | os.PathLike[str], data: Any, options: EvaluationOptions | None = None) -> RobustnessReport:
    """Accuracy, robustness, calibration or perplexity of models; the same as ``graphprune evaluate MODELS --data ...``.

    The first is what the others are compared with, on the same samples.

    Raises
    ------
    GraphpruneError
        As :func:`graphprune.evaluation.side_by_side.evaluate_models`; there is no model, or something else for one.
    """
    if not models:
        raise OptionError("there is no model to evaluate", "give the path of one, or of several")
    for each in models:
        check_source(each)
    return evaluate_models([model_file(Path(each)) for each in models], data, options or EvaluationOptions())
