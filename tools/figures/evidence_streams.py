"""CIPLS against incremental PCA and batch PLS: time, memory and accuracy on images that come one batch at a time.

The stream is CIFAR-10 decoded as it goes, so that a method that learns incrementally never holds it. What each method
finds is judged by the same linear classifier.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from cifar import shared_folder
from evidence_size import Row, Size, Task

from graphprune.generation.memory import own_peak_bytes

BATCH = 500
CLASSES = 10
FEATURES = 20
"""Numbers that are left of an image: two components of each class, or as many of PCA and PLS."""
METHODS = ("CIPLS", "CIPLS released", "incremental PCA", "batch PLS", "nothing")


def tasks(size: Size) -> Iterator[Task]:
    for method in METHODS:
        yield {"method": method, "images": size.stream}


def rows(task: Task, size: Size, work: Path) -> list[Row]:
    """Processor seconds and peak memory of learning the projection; top-1 behind it."""
    import sklearn.cross_decomposition  # noqa: F401 - its memory is not the method's

    before, started = _peak_mib(), time.process_time()
    project = _learnt(task["method"], task["images"])
    seconds, after = time.process_time() - started, _peak_mib()
    found = {"features": FEATURES if task["method"] != "nothing" else 3072, "seconds": seconds}
    return [found | {"mib": after - before, "top1": _accuracy(project, task["images"])}]


def _learnt(method: str, count: int) -> Any:
    """What turns images [n, 3072] into the features, learnt from the stream."""
    from sklearn.cross_decomposition import PLSRegression
    from sklearn.decomposition import IncrementalPCA

    from graphprune.importance.class_cipls import ClassCIPLS

    if method == "batch PLS":
        x, labels = (np.concatenate(parts) for parts in zip(*stream("train", count), strict=True))
        return PLSRegression(FEATURES, scale=False).fit(x, np.eye(CLASSES)[labels]).transform
    if method == "incremental PCA":
        components = IncrementalPCA(FEATURES)
        for x, _ in stream("train", count):
            components.partial_fit(x)
        return components.transform
    if method == "nothing":
        for _ in stream("train", count):
            pass
        return np.asarray
    cipls = ClassCIPLS(FEATURES // CLASSES, "released" if method.endswith("released") else "normalised")
    for x, labels in stream("train", count):
        cipls.partial_fit(x, labels, classes=np.arange(CLASSES))
    return cipls.transform


def stream(split: str, count: int | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images [batch, 3072] float32 in [0, 1] and labels, decoded batch by batch."""
    import io

    from PIL import Image

    with np.load(shared_folder() / "data" / f"cifar10_{split}_jpeg.npz", allow_pickle=False) as held:
        jpeg, offset, label = held["jpeg"], held["offset"], held["label"].astype(np.int64)
    count = count or len(label)
    for start in range(0, count, BATCH):
        chosen = range(start, min(start + BATCH, count))
        images = [Image.open(io.BytesIO(jpeg[offset[i] : offset[i + 1]].tobytes())).convert("RGB") for i in chosen]
        yield np.stack([np.asarray(each, np.float32).reshape(-1) / 255 for each in images]), label[list(chosen)]


def _accuracy(project: Any, count: int) -> float:
    """Of a linear classifier on standardised features, learnt batch by batch."""
    from sklearn.linear_model import SGDClassifier

    classifier, seen, moments = SGDClassifier(random_state=0, average=True), 0, [0.0, 0.0]
    parts = [(np.asarray(project(x), np.float32), labels) for x, labels in stream("train", count)]
    for features, _ in parts:
        seen += len(features)
        moments = [moments[0] + features.sum(0, np.float64), moments[1] + np.square(features, dtype=np.float64).sum(0)]
    mean = moments[0] / seen
    scale = 1 / np.sqrt(np.maximum(moments[1] / seen - mean**2, 1e-12))
    for _ in range(5):
        for features, labels in parts:
            classifier.partial_fit((features - mean) * scale, labels, classes=np.arange(CLASSES))
    hits = [classifier.predict((project(x) - mean) * scale) == labels for x, labels in stream("test", count // 5)]
    return float(np.concatenate(hits).mean())


def _peak_mib() -> float:
    found = own_peak_bytes()
    if found is None:
        raise SystemExit("the peak of memory is not told here: run this on Linux")
    return found / (1 << 20)
