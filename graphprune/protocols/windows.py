"""Windows of equal length, cut from recordings of sensors."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np

from graphprune.errors import DataError, OptionError


@dataclass(frozen=True)
class Recording:
    """One continuous trial of one activity: ``values`` (time, sensors), who wore the sensors, what was done."""

    values: np.ndarray
    label: Hashable
    subject: Hashable
    trial: Hashable


@dataclass(frozen=True)
class Windows:
    """Windows in the order of their recordings.

    ``x`` (n, 1, time, sensors) is what the paper's networks take, in the recordings' own unit and dtype; ``labels``,
    ``subjects`` and ``trials`` (n,) say where each comes from, ``starts`` (n,) int64 at which step of its recording.
    """

    x: np.ndarray
    labels: np.ndarray
    subjects: np.ndarray
    trials: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.x)


def windows(recordings: Iterable[Recording], length: int, overlap: float) -> Windows:
    """Cut every recording into windows of ``length`` steps that share ``overlap`` (0 to below 1) with the next one.

    What is left at the end of a recording is dropped; no window reaches over the end of its recording.

    Raises
    ------
    OptionError
        The length or the overlap is not legal.
    DataError
        A recording is no matrix, the sensors differ between recordings, or no recording is as long as a window.
    """
    if length < 1 or not 0 <= overlap < 1:
        raise OptionError(f"windows of {length} steps with overlap {overlap} do not exist", "write 50 and 0.5")
    step = max(1, round(length * (1 - overlap)))
    cut: list[np.ndarray] = []
    told: list[tuple[Recording, int]] = []
    for recording in recordings:
        values = np.asarray(recording.values)
        if values.ndim != 2 or (cut and values.shape[1] != cut[0].shape[1]):
            wanted = f"(time, {cut[0].shape[1]})" if cut else "(time, sensors)"
            raise DataError(f"trial {recording.trial!r} has shape {values.shape}, not {wanted}", "give equal sensors")
        for start in range(0, len(values) - length + 1, step):
            cut.append(values[start : start + length])
            told.append((recording, start))
    if not cut:
        raise DataError(f"no recording has the {length} steps of a window", "use shorter windows")
    return Windows(
        np.stack(cut)[:, None],
        np.array([recording.label for recording, _ in told]),
        np.array([recording.subject for recording, _ in told]),
        np.array([recording.trial for recording, _ in told]),
        np.array([start for _, start in told]),
    )
