"""Rows of the table from what each model did with each sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from graphprune.evaluation import calibration, paired
from graphprune.evaluation.robustness_report import ConditionKind, ConditionRow


def row(
    kind: ConditionKind, name: str, level: str, per_model: Sequence[np.ndarray], blind: tuple[int, ...] = ()
) -> ConditionRow:
    """A figure that is a mean over samples: per model (n,), booleans where a sample is right or wrong."""
    first, *others = per_model
    return ConditionRow(
        kind=kind,
        name=name,
        level=level,
        values=tuple(paired.mean(values.astype(np.float64)) for values in per_model),
        differences=tuple(paired.difference(first, other) for other in others),
        blind=blind,
    )


def mean_row(name: str, members: Sequence[str], per_kind: Mapping[str, Sequence[np.ndarray]]) -> ConditionRow:
    """Over corruptions, sample by sample, so that the error is that of independent images."""
    columns = zip(*(per_kind[member] for member in members), strict=True)
    return row("mean", name, "", [np.mean(column, axis=0) for column in columns])


def calibration_rows(scores: Sequence[np.ndarray], labels: np.ndarray, seed: int) -> list[ConditionRow]:
    """Calibration errors, Brier and likelihood of each model's ``scores`` [n, classes] against ``labels`` (n,)."""
    shares = [calibration.probabilities(part) for part in scores]
    right = [(part.argmax(1) == labels).astype(np.float64) for part in scores]
    sure = [calibration.confidence(share) for share in shares]

    def resampled(name: str, measure: calibration.Measure) -> ConditionRow:
        def figures(rows: np.ndarray) -> np.ndarray:
            return np.array([measure(s[rows], r[rows]) for s, r in zip(sure, right, strict=True)])

        return ConditionRow("calibration", name, "", *paired.resampled(figures, len(labels), seed))

    return [
        resampled(f"ECE, {calibration.BINS} bins", calibration.calibration_error),
        resampled("adaptive ECE", calibration.adaptive_calibration_error),
        row("calibration", "Brier", "", [calibration.brier(share, labels) for share in shares]),
        row("calibration", "NLL, nats", "", [calibration.negative_log_likelihood(share, labels) for share in shares]),
    ]
