"""What stays of each tensor of a module, read off two graphs with numbered weights: before and after the cut."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from graphprune.ir.model import Model, read_values
from graphprune.module_surgery.cutting import Indices
from graphprune.module_surgery.tagging import Tagged

_Places = dict[tuple[str, int], dict[str, np.ndarray]]
"""(node, operand) -> tensor of the module -> flat indices of its elements that are read there."""


@dataclass(frozen=True)
class Cuts:
    """What stays of each tensor that shrinks, and the new group counts of convolutions by the name of their weight.

    ``trouble`` has a sentence for each tensor that cannot be cut as the graph was.
    """

    indices: Mapping[str, Indices]
    groups: Mapping[str, int]
    trouble: tuple[str, ...] = ()


def find_cuts(twin: Tagged, before: Model, after: Model) -> Cuts:
    """Compare both graphs, element by element; every reader of a tensor must lose the same part of it."""
    old, new = _places(twin, before), _places(twin, after)
    was, left = _together(old), _together(new)
    indices: dict[str, Indices] = {}
    trouble: list[str] = []
    for name, elements in was.items():
        kept = left.get(name, np.zeros(0, dtype=np.int64))
        if len(kept) == len(elements):
            continue
        indices[name] = _slice(elements, kept, twin.shapes[name])
    for place, held in old.items():
        for name in indices.keys() & held.keys():
            expected = held[name][_inside(held[name], indices[name], twin.shapes[name])]
            if place in new and not np.array_equal(expected, new[place].get(name, expected[:0])):
                trouble.append(f"{name}: its readers keep different parts of it, the module has only one")
    for name, kept_axes in indices.items():
        if any(len(axis) == 0 for axis in kept_axes):
            trouble.append(f"{name}: nothing would be left of it")
    return Cuts(indices, _group_counts(new, after), tuple(dict.fromkeys(trouble)))


def _places(twin: Tagged, model: Model) -> _Places:
    found: _Places = {}
    read: dict[str, dict[str, np.ndarray]] = {}
    for node in model.graph.nodes:
        for operand, tensor in enumerate(node.inputs):
            if isinstance(tensor, gs.Constant):
                if tensor.name not in read:
                    read[tensor.name] = twin.owners(read_values(tensor, model.folder))
                if read[tensor.name]:
                    found[node.name, operand] = read[tensor.name]
    return found


def _together(places: _Places) -> dict[str, np.ndarray]:
    """All elements of each tensor that are read anywhere."""
    parts: dict[str, list[np.ndarray]] = defaultdict(list)
    for held in places.values():
        for name, elements in held.items():
            parts[name].append(elements)
    return {name: np.unique(np.concatenate(arrays)) for name, arrays in parts.items()}


def _slice(was: np.ndarray, kept: np.ndarray, shape: tuple[int, ...]) -> Indices:
    """For each axis the indices that stay: all but those of which the graph read something before and nothing after."""
    before = np.unravel_index(was, shape)
    after = np.unravel_index(kept, shape)
    return tuple(
        np.setdiff1d(np.arange(size), np.setdiff1d(before[axis], after[axis])) for axis, size in enumerate(shape)
    )


def _inside(elements: np.ndarray, indices: Indices, shape: tuple[int, ...]) -> np.ndarray:
    """Which elements lie in the slice."""
    places = np.unravel_index(elements, shape)
    found: np.ndarray = np.all([np.isin(place, kept) for place, kept in zip(places, indices, strict=True)], axis=0)
    return found


def _group_counts(places: _Places, model: Model) -> dict[str, int]:
    return {
        name: int(node.attrs.get("group", 1))
        for node in model.graph.nodes
        if node.op in ("Conv", "ConvTranspose")
        for name in places.get((node.name, 1), ())
    }
