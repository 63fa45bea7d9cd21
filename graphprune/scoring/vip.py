"""PLS-VIP of units: one feature per channel of every layer on offer, all in one partial least squares model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from graphprune.analysis.groups import Group
from graphprune.axes import algebra
from graphprune.axes.typing import Typing
from graphprune.base.graded import Graded
from graphprune.data.dataset import Data
from graphprune.errors import DataError
from graphprune.importance.vip import one_hot, pls_vip
from graphprune.ir.model import Model
from graphprune.ir.recurrent_states import RECURRENT
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.scoring.consumers import mean_per_unit
from graphprune.segments.capture import axes_of_samples, capture

OWN_LABELS_NOTE = Graded("the data has no labels: PLS took the model's own arg-max for them", "caution")

Estimator = Literal["pls", "cipls", "cipls-released"]
Pool = Literal["max", "mean"]


@dataclass(frozen=True)
class _Tap:
    """A layer's output: ``axis`` counts its channels, ``samples_axis`` the samples (0: what grows with them)."""

    tensor: str
    axis: int
    samples_axis: int = 0

    def pooled(self, values: np.ndarray, sample_axis: int, samples: int, pool: Pool) -> NDArray[np.float32]:
        """(samples, channels): the largest or mean value of each channel.

        Raises
        ------
        DataError
            The tensor has no rows for each sample.
        """
        if values.shape[sample_axis] % samples or sample_axis == self.axis:
            raise DataError(
                f"'{self.tensor}' {list(values.shape)} has no features for each of {samples} samples",
                "exclude the layer that writes it",
            )
        moved = np.moveaxis(values, (sample_axis, self.axis), (0, -1)).astype(np.float32)
        rows = moved.reshape(samples, -1, moved.shape[-1])
        pooled: NDArray[np.float32] = rows.max(axis=1) if pool == "max" else rows.mean(axis=1)
        return pooled


def vip_scores(
    model: Model,
    typing: Typing,
    groups: Sequence[Group],
    data: Data,
    batch: int,
    options: RuntimeOptions,
    *,
    components: int,
    pool: Pool,
    estimator: Estimator,
    progress: Callable[[int], None],
) -> tuple[list[NDArray[np.float64]], bool]:
    """VIP (size,) of every unit of every group, and whether the data's own labels served.

    Without labels the classes are the model's own arg-max. Each written channel is one feature,
    pooled over everything but samples; a unit that several channels or layers write gets their mean.

    Raises
    ------
    DataError
        PLS cannot be fitted: one class only, features that do not vary, or outputs that are no class scores.
    """
    taps = _taps(model, typing, groups)
    tensors = list(dict.fromkeys(tap.tensor for each in taps for tap in each))
    sample_axes = axes_of_samples(model, tensors, data, options)
    columns: dict[_Tap, slice] = {}
    labelled = True

    def stream() -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        nonlocal labelled
        output = model.graph.outputs[0].name
        done = 0
        for part, values in capture(model, [*tensors, output], data, batch, options):
            features = {
                tap: tap.pooled(values[tap.tensor], tap.samples_axis or sample_axes[tap.tensor], len(part), pool)
                for each in taps
                for tap in each
            }
            start = 0
            for tap, pooled in features.items():
                columns[tap] = slice(start, start + pooled.shape[1])
                start += pooled.shape[1]
            labelled = part.labels is not None
            labels = part.labels if part.labels is not None else own_labels(values[output], output)
            done += len(part)
            progress(done)
            yield np.concatenate(list(features.values()), axis=1), labels

    if estimator == "pls":
        batches = list(stream())
        x = np.concatenate([features for features, _ in batches])
        scores = pls_vip(x, one_hot(np.concatenate([labels for _, labels in batches])), components)
    else:
        from graphprune.importance.class_cipls import cipls_vip  # imports scikit-learn

        scores = cipls_vip(stream, components, "released" if estimator == "cipls-released" else "normalised")
    result = []
    for group, each in zip(groups, taps, strict=True):
        parts = [_per_unit(scores[columns[tap]], typing, tap, group) for tap in each]
        result.append(np.mean(parts, axis=0))
    return result, labelled


def _taps(model: Model, typing: Typing, groups: Sequence[Group]) -> list[list[_Tap]]:
    """For each group the outputs of the layers that write it."""
    nodes = {node.name: node for node in model.graph.nodes}
    found = []
    for group in groups:
        taps = []
        for name in group.writers:
            if nodes[name].op in RECURRENT:
                taps += _states(nodes[name])
                continue
            tensor = nodes[name].outputs[0].name
            axes = typing.axes.get(tensor, ())
            places = [index for index, axis in enumerate(axes) if group.atom in set(algebra.atoms_of(axis))]
            if places and places[0] > 0:
                taps.append(_Tap(tensor, places[0]))
        if not taps:
            raise DataError(
                f"no layer writes {group.name} as one axis per sample, so it has no features",
                f"leave it out with exclude={group.name}",
            )
        found.append(taps)
    return found


def _states(node: gs.Node) -> list[_Tap]:
    """Of a recurrent layer: all states, or the last one where those are not written."""
    if node.outputs[0].name:
        return [_Tap(node.outputs[0].name, 3, 0 if node.attrs.get("layout", 0) else 2)]
    if len(node.outputs) > 1 and node.outputs[1].name:
        return [_Tap(node.outputs[1].name, 2, 0 if node.attrs.get("layout", 0) else 1)]
    return []


def _per_unit(scores: NDArray[np.float64], typing: Typing, tap: _Tap, group: Group) -> NDArray[np.float64]:
    positions = algebra.positions_of(typing.axes[tap.tensor][tap.axis], group.atom)
    return mean_per_unit(scores, positions, group.size)


def own_labels(scores: np.ndarray, name: str) -> NDArray[np.int64]:
    """The model's own choice for each sample, from its first output ``name``.

    Raises
    ------
    DataError
        That holds no class scores.
    """
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise DataError(
            f"there are no labels, and the first output '{name}' {list(scores.shape)} is no row of class scores",
            "add labels to the data (an array 'labels' in the .npz)",
        )
    chosen: NDArray[np.int64] = scores.argmax(axis=1)
    return chosen
