"""Training a pruned network so that it does again what the unpruned one does. PyTorch is imported on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphprune.training.budget import budget_of, healing
    from graphprune.training.options import TrainOptions
    from graphprune.training.report import EpochReport, TrainingReport
    from graphprune.training.run import finetune, train

__all__ = ["EpochReport", "TrainOptions", "TrainingReport", "budget_of", "finetune", "healing", "train"]

_HOMES = {
    "EpochReport": "report",
    "TrainOptions": "options",
    "TrainingReport": "report",
    "budget_of": "budget",
    "finetune": "run",
    "healing": "budget",
    "train": "run",
}


def __getattr__(name: str) -> Any:
    """Import on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'graphprune.training' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(f"graphprune.training.{_HOMES[name]}"), name)
