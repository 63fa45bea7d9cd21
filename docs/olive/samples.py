"""An .npz as a data set of Olive: inputs by name, and the label where there is one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from olive.data.registry import Registry
from torch.utils.data import Dataset


class Samples(Dataset):
    """``arrays`` share their first axis; one of them may be called labels."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self._labels = arrays.pop("labels", None)
        self._inputs = arrays

    def __len__(self) -> int:
        return len(next(iter(self._inputs.values())))

    def __getitem__(self, index: int) -> Any:
        inputs = {name: torch.from_numpy(array[index]) for name, array in self._inputs.items()}
        return inputs if self._labels is None else (inputs, int(self._labels[index]))


@Registry.register_dataset()
def npz_samples(path: str, limit: int | None = None, **_: object) -> Samples:
    """``path`` and ``limit`` are parameters in the workflow."""
    with np.load(path, allow_pickle=False) as file:
        return Samples({name: array[:limit] for name, array in file.items()})
