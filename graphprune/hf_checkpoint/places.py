"""Where the tensors of a checkpoint lie in an ONNX file, found by their values: names and layout are the exporter's.

A tensor is a whole weight, transposed or not, or a range of one that an exporter joined from several (query, key and
value in one product).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from graphprune.ir.model import Model, constants, read_values


@dataclass(frozen=True)
class Place:
    """Rows ``start`` to ``stop`` of ``weight``; of its transpose where ``is_turned``.

    They are the tensor, or its transpose where ``is_other_turned``.
    """

    weight: str
    is_turned: bool
    is_other_turned: bool
    start: int
    stop: int


def float_weights(model: Model) -> dict[str, np.ndarray]:
    """The float constants of one to three axes with more than one value, by name."""
    found = {constant.name: read_values(constant, model.folder) for constant in constants(model.graph)}
    return {
        name: values
        for name, values in found.items()
        if values.ndim in (1, 2, 3)
        and values.size > 1
        and (values.dtype.kind == "f" or values.dtype.name == "bfloat16")
    }


class Finder:
    """Finds tensors among ``weights`` by their first row."""

    def __init__(self, weights: Mapping[str, np.ndarray]) -> None:
        self._weights = weights
        self._dtypes = {values.dtype for values in weights.values()}
        self._rows: dict[int, list[tuple[str, bool, int]]] = defaultdict(list)
        for name, values in weights.items():
            for is_turned in (False, True)[: values.ndim]:
                for number, row in enumerate(turned(values, is_turned)):
                    self._rows[hash(row.tobytes())].append((name, is_turned, number))

    def places(self, tensor: np.ndarray) -> list[Place]:
        """Every place whose values are those of ``tensor``, rounded to the weight's type."""
        found: list[Place] = []
        for is_other_turned in (False, True)[: tensor.ndim]:
            rows = turned(tensor, is_other_turned)
            for dtype in self._dtypes:
                as_there = rows.astype(dtype)
                for name, is_turned, start in self._rows.get(hash(as_there[0].tobytes()), ()):
                    values = turned(self._weights[name], is_turned)
                    place = Place(name, is_turned, is_other_turned, start, start + len(rows))
                    if values.dtype == dtype and np.array_equal(values[start : place.stop], as_there):
                        found.append(place)
        return found


def turned(values: np.ndarray, is_turned: bool) -> np.ndarray:
    """Rows first: ``values``, or their transpose in memory of its own."""
    return np.ascontiguousarray(values.T) if is_turned else values


def likeliest(name: str, places: Iterable[Place]) -> list[Place]:
    """Those of ``places`` whose weights share most words with ``name``."""
    words = set(re.split(r"[._/]+", name))
    shared = {place: len(words & set(re.split(r"[._/]+", place.weight))) for place in places}
    return [place for place, count in shared.items() if count == max(shared.values())]


def kept_rows(full: np.ndarray, part: np.ndarray) -> np.ndarray | None:
    """Which rows of ``full`` those of ``part`` are, ascending; None where they are not."""
    found: list[int] = []
    number = 0
    for row in part:
        while number < len(full) and not np.array_equal(full[number], row):
            number += 1
        if number == len(full):
            return None
        found.append(number)
        number += 1
    return np.array(found, dtype=np.int64)
