"""CIFAR-10 training images as a data script: decoded once, then mapped from disk, so that any number costs no memory.

    graphprune finetune small.onnx --teacher resnet56_jpeg.onnx --data tools/figures/cifar_training.py:train -o
    tuned.onnx

``train`` is all 50,000 images of the pack in the shared data folder, ``first_5000`` a balanced tenth of them;
both normalised as the ``standard`` files of ``tools/figures/cifar.py``, with labels.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))  # run as a data script, this file is not in a package

from cifar import STANDARD_MEAN, STANDARD_STD, decode, shared_folder

_FOLDER = Path("build/cifar")
_CHUNK = 1000


def prepared(count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 3, 32, 32) float32, mapped from a file, and labels (n,) int64; made if need be."""
    name = f"standard-train-{count or 'all'}"
    images, labels = _FOLDER / f"{name}.npy", _FOLDER / f"{name}-labels.npy"
    if not labels.is_file():
        _FOLDER.mkdir(parents=True, exist_ok=True)
        decoded, classes = decode(shared_folder() / "data" / "cifar10_train_jpeg.npz", count)
        decoded -= STANDARD_MEAN
        decoded /= STANDARD_STD
        np.save(images, decoded)
        np.save(labels, classes)
    return np.load(images, mmap_mode="r"), np.load(labels)


def _chunks(count: int | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    images, labels = prepared(count)
    for start in range(0, len(labels), _CHUNK):
        yield images[start : start + _CHUNK], labels[start : start + _CHUNK]


def train(count: int | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All training images, or the first ``count``."""
    return _chunks(count)


def first_5000() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """A tenth of them."""
    return _chunks(5000)
