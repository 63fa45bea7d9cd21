"""The four protocols of the paper: how windows are cut, and which of them a network is trained on and tested on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from sklearn.model_selection import LeaveOneGroupOut, StratifiedGroupKFold, StratifiedKFold

from graphprune.errors import DataError, OptionError
from graphprune.protocols.windows import Recording, Windows, windows


class Fold(NamedTuple):
    """Indices (n,) int64 of the windows to train on and of those to test on."""

    train: np.ndarray
    test: np.ndarray


Split = tuple[Windows, list[Fold]]


def snow(recordings: Iterable[Recording], length: int, folds: int = 10, seed: int = 0) -> Split:
    """Semi-non-overlapping windows: half of each is half of the next, split at random. It leaks: see :func:`leakage`.

    Raises
    ------
    DataError
        As :func:`windows`, or an activity has fewer windows than there are folds.
    OptionError
        As :func:`windows`, or there are fewer than two folds.
    """
    return _at_random(windows(recordings, length, 0.5), folds, seed)


def fnow(recordings: Iterable[Recording], length: int, folds: int = 10, seed: int = 0) -> Split:
    """Fully non-overlapping windows, split at random: windows of one trial still lie on both sides.

    Raises as :func:`snow`.
    """
    return _at_random(windows(recordings, length, 0.0), folds, seed)


def loso(recordings: Iterable[Recording], length: int) -> Split:
    """Leave one subject out: half-overlapping windows, a fold for every subject, who is in its test windows alone.

    Raises
    ------
    DataError
        As :func:`windows`, or there is one subject.
    """
    cut = windows(recordings, length, 0.5)
    if len(np.unique(cut.subjects)) < 2:
        raise DataError("all recordings are of one subject, and nobody can be left out", "use loto")
    return cut, [Fold(train, test) for train, test in LeaveOneGroupOut().split(cut.x, cut.labels, cut.subjects)]


def loto(recordings: Iterable[Recording], length: int, folds: int = 10, seed: int = 0) -> Split:
    """Leave trials out: half-overlapping windows, all windows of a trial on one side; subjects may be on both.

    Trials are spread over the folds so that activities are, as well as whole trials allow.

    Raises
    ------
    DataError
        As :func:`windows`, or there are fewer trials than folds.
    OptionError
        As :func:`snow`.
    """
    cut = windows(recordings, length, 0.5)
    _check_folds(folds)
    # A trial is one recording: its number alone may come again with another subject or activity.
    names = np.array([repr(key) for key in zip(cut.subjects, cut.labels, cut.trials, strict=True)])
    if len(np.unique(names)) < folds:
        raise DataError(f"there are {len(np.unique(names))} trials for {folds} folds", "ask for fewer folds")
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    return cut, [Fold(train, test) for train, test in splitter.split(cut.x, cut.labels, names)]


PROTOCOLS: dict[str, Callable[..., Split]] = {"snow": snow, "fnow": fnow, "loso": loso, "loto": loto}
"""By name; only loso and loto tell how a network does on people or trials that it has not seen."""


def _at_random(cut: Windows, folds: int, seed: int) -> Split:
    _check_folds(folds)
    names, counts = np.unique(cut.labels, return_counts=True)
    if counts.min() < folds:
        rare = names[counts.argmin()]
        raise DataError(
            f"activity {rare!r} has {counts.min()} windows, fewer than the {folds} folds", "ask for fewer folds"
        )
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return cut, [Fold(train, test) for train, test in splitter.split(cut.x, cut.labels)]


def _check_folds(folds: int) -> None:
    if folds < 2:
        raise OptionError(f"{folds} fold leaves nothing to train on or to test on", "write 2 or more")
