"""Made-up recordings, and the authors' windows with their folds."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from graphprune.protocols import Fold, Recording

_NUMPY = {"_reconstruct", "ndarray", "dtype"}


def recordings(seed: int = 0, subjects: int = 3, activities: int = 4, trials: int = 4) -> list[Recording]:
    """Of 90 to 130 steps of 2 sensors; trials are numbered from 0 for each subject and activity."""
    generator = np.random.default_rng(seed)
    return [
        Recording(generator.standard_normal((int(generator.integers(90, 131)), 2)), f"a{activity}", subject, trial)
        for subject in range(subjects)
        for activity in range(activities)
        for trial in range(trials)
    ]


def authors_folds(path: Path) -> list[Fold]:
    """``folds`` of an .npz of the paper's: pickled, and read with nothing but NumPy's own arrays let through."""
    with zipfile.ZipFile(path) as archive, archive.open("folds.npy") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        held = _Arrays(io.BytesIO(file.read())).load()
    return [Fold(np.asarray(train), np.asarray(test)) for train, test in held]


class _Arrays(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        is_numpy = module.split(".")[0] == "numpy" and name in _NUMPY
        if not is_numpy and (module, name) != ("_codecs", "encode"):
            raise pickle.UnpicklingError(f"{module}.{name} is no array")
        return super().find_class(module, name)
