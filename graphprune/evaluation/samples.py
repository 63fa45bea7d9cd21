"""The samples that all models see, and what each model says to them on ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from graphprune.data.dataset import Data, input_specs, load_data
from graphprune.data.fitting import InputSpec
from graphprune.data.image_options import ImageOptions
from graphprune.errors import DataError, ModelError
from graphprune.ir.loading import load
from graphprune.runtime.sessions import RuntimeOptions, open_session, run


@dataclass(frozen=True)
class Samples:
    """``inputs`` [n, ...] as the network reads them, ``labels`` (n,) int64 or None; ``batch`` fits every model."""

    inputs: np.ndarray
    labels: np.ndarray | None
    batch: int
    origin: str

    def __len__(self) -> int:
        return len(self.inputs)


class JudgedModel:
    """A model file on ONNX Runtime: inputs [n, ...] -> class scores [n, classes]."""

    def __init__(self, path: Path, spec: InputSpec, options: RuntimeOptions, batch: int) -> None:
        self.path = path
        self._spec = spec
        self._batch = batch
        self._session = open_session(path, options)

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Class scores, from the first output.

        Raises
        ------
        DataError
            The first output is not one row of scores per sample.
        """
        parts = []
        for start in range(0, len(inputs), self._batch):
            part = inputs[start : start + self._batch]
            scores = run(self._session, {self._spec.name: part})[0]
            if scores.ndim != 2 or len(scores) != len(part):
                raise DataError(
                    f"evaluate needs class scores [samples, classes]; the first output of {self.path.name} is "
                    f"{list(scores.shape)} for {len(part)} samples",
                    "put the scores first among the outputs",
                )
            parts.append(scores)
        return np.concatenate(parts)


def gather(
    paths: list[Path],
    source: Any,
    limit: int | None,
    batch: int,
    options: RuntimeOptions,
    images: ImageOptions | None = None,
) -> tuple[Samples, list[JudgedModel]]:
    """Read up to ``limit`` samples and open every model.

    Raises
    ------
    ModelError
        A model has several inputs, or the models do not take the same one.
    DataError
        The data do not fit the models.
    """
    specs, datas = [], []
    for path in paths:
        model = load(path)
        found = input_specs(model)
        if len(found) != 1:
            raise ModelError(f"{path.name} has {len(found)} inputs, evaluate takes models with one", "fix the others")
        specs.append(found[0])
        datas.append(load_data(source, model, limit, images=images))
    if not datas[0].batching.is_rows:
        raise ModelError(
            f"samples of {paths[0].name} are no rows ({datas[0].batching})", "leave attacks and corruptions out"
        )
    for path, spec in zip(paths[1:], specs[1:], strict=True):
        if spec.dtype != specs[0].dtype or spec.dims[1:] != specs[0].dims[1:]:
            raise ModelError(f"{paths[0].name} takes {specs[0]}, {path.name} takes {spec}", "compare like with like")
    sizes = {data.fixed_batch for data in datas} - {None}
    if len(sizes) > 1:
        raise ModelError(f"the models insist on different batch sizes ({sorted(map(str, sizes))})", "export them alike")
    fixed = next((data for data in datas if data.fixed_batch), datas[0])
    samples = _read(fixed, specs[datas.index(fixed)].name, batch)
    judges = [JudgedModel(path, spec, options, samples.batch) for path, spec in zip(paths, specs, strict=True)]
    return samples, judges


def _read(data: Data, name: str, batch: int) -> Samples:
    parts = list(data.batches(batch))
    labels = [part.labels for part in parts if part.labels is not None]
    if sum(map(len, parts)) < 2:
        raise DataError(f"{data.origin} holds one sample, from which no error can be estimated", "give more data")
    return Samples(
        np.concatenate([part.feeds[name] for part in parts]),
        np.concatenate(labels) if len(labels) == len(parts) else None,
        data.fixed_batch or batch,
        data.origin,
    )


def check_labels(samples: Samples, classes: int) -> None:
    """Refuse labels that name no class.

    Raises
    ------
    DataError
        A label is negative, or not below ``classes``.
    """
    labels = samples.labels
    if labels is not None and (labels.min() < 0 or labels.max() >= classes):
        raise DataError(
            f"the labels of {samples.origin} run from {labels.min()} to {labels.max()}, "
            f"but the model has {classes} classes",
            "number the classes from 0",
        )
