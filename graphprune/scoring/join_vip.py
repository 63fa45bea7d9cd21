"""How evenly what a join adds up tells the classes: one partial least squares model for each join.

Jordao et al., the discriminative layers of DepthWisePruning and "Stage-Wise Neural Architecture Search" (ICPR 2020):
the maps are averaged in windows, and the figure of a join is the mean VIP of its features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphprune.data.dataset import Data
from graphprune.errors import DataError
from graphprune.importance.vip import one_hot, pls_vip
from graphprune.ir.model import Model
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.scoring.vip import own_labels
from graphprune.segments.capture import axes_of_samples, capture


@dataclass(frozen=True)
class JoinVIP:
    """The mean VIP of a join's features, and half of what it differs by between every other sample and the rest."""

    mean: float
    standard_error: float


def join_vips(
    model: Model,
    tensors: Sequence[str],
    data: Data,
    batch: int,
    options: RuntimeOptions,
    *,
    is_maps: bool,
    window: int,
    components: int,
    progress: Callable[[int], None],
) -> tuple[list[JoinVIP], bool]:
    """The figure of each of ``tensors``, and whether the data's own labels served.

    ``is_maps``: the channels are axis 1, and what follows is averaged in windows of side ``window`` (0: as a whole);
    else the features are the last axis, and what lies between is averaged. Without labels the classes are the model's
    own arg-max. Features that do not vary count nowhere: over the others the root mean square is 1, so that the mean is
    the closer to 1 the more evenly they tell the classes.

    Raises
    ------
    DataError
        PLS cannot be fitted: one class only, features that do not vary, or outputs that are no class scores.
    """
    sample_axes = axes_of_samples(model, tensors, data, options)
    output = model.graph.outputs[0].name
    features: dict[str, list[NDArray[np.floating[Any]]]] = {name: [] for name in tensors}
    labels: list[NDArray[np.int64]] = []
    is_labelled = True
    for part, values in capture(model, [*tensors, output], data, batch, options):
        for name in tensors:
            moved = np.moveaxis(values[name], sample_axes[name], 0)
            if len(moved) != len(part):
                raise DataError(
                    f"'{name}' {list(values[name].shape)} has no features for each of {len(part)} samples",
                    "take another stage, or another pass",
                )
            features[name].append(pooled(moved, window, is_maps=is_maps))
        is_labelled &= part.labels is not None
        labels.append(own_labels(values[output], output) if part.labels is None else part.labels)
        progress(sum(map(len, labels)))
    classes = np.concatenate(labels)
    return [_figure(np.concatenate(features.pop(name)), classes, components) for name in tensors], is_labelled


def pooled(values: NDArray[np.floating[Any]], window: int, *, is_maps: bool) -> NDArray[np.floating[Any]]:
    """(samples, features) of (samples, ...): see :func:`join_vips`. A window at the edge may be smaller."""
    if values.ndim <= 2:
        return values.reshape(len(values), -1)
    if not is_maps:
        between: NDArray[np.floating[Any]] = values.mean(axis=tuple(range(1, values.ndim - 1)))
        return between
    for axis in range(2, values.ndim):
        size = values.shape[axis]
        starts = np.arange(0, size, window or size)
        counts = np.diff(np.append(starts, size)).reshape(-1, *[1] * (values.ndim - axis - 1))
        values = np.add.reduceat(values, starts, axis) / counts.astype(values.dtype)
    return values.reshape(len(values), -1)


def _figure(features: NDArray[np.floating[Any]], labels: NDArray[np.int64], components: int) -> JoinVIP:
    try:
        one, other = (_mean(features[start::2], labels[start::2], components) for start in (0, 1))
    except DataError:  # of a few samples a half may be too few
        one = other = 0.0
    return JoinVIP(_mean(features, labels, components), abs(one - other) / 2)


def _mean(features: NDArray[np.floating[Any]], labels: NDArray[np.int64], components: int) -> float:
    vips = pls_vip(features, one_hot(labels), components)
    return float(vips[vips > 0].mean())
