"""The experts of a mixture: numbered in a checkpoint or stacked there, slices of one weight in an ONNX file."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from graphprune.errors import PlanError
from graphprune.hf_checkpoint.places import kept_rows

_NUMBERED = re.compile(r"^(.*\bexperts\.)(\d+)(\..+)$")
_STACK_RANK = 3
_Arrays = Mapping[str, np.ndarray]


def taken_apart(before: _Arrays, cut: _Arrays, after: _Arrays) -> tuple[_Arrays, _Arrays, _Arrays]:
    """All three with each stack (experts, rows, columns) as matrices, which are named after their expert in ``before``.

    ``after`` has the shapes of ``cut``, whose values are still those of ``before``.

    Raises
    ------
    PlanError
        Which of the experts are left cannot be told.
    """
    stacks = {name: values for name, values in before.items() if values.ndim == _STACK_RANK}
    left = {name: _numbers(name, values, stacks[name]) for name, values in cut.items() if name in stacks}
    every = {name: range(len(values)) for name, values in stacks.items()}
    return _sliced(before, every), _sliced(cut, left), _sliced(after, left)


def _sliced(weights: _Arrays, numbers: Mapping[str, Sequence[int]]) -> dict[str, np.ndarray]:
    matrices = {
        f"{name}[{number}]": matrix
        for name, each in numbers.items()
        for number, matrix in zip(each, weights[name], strict=True)
    }
    return {name: values for name, values in weights.items() if values.ndim < _STACK_RANK} | matrices


def _numbers(name: str, left: np.ndarray, full: np.ndarray) -> Sequence[int]:
    """The old number of each expert that is left."""
    if len(left) == len(full):
        return range(len(full))
    numbers = kept_rows(full.reshape(len(full), -1), left.reshape(len(left), -1))
    if numbers is None:
        raise PlanError(f"which experts of '{name}' are left cannot be told", "take whole experts, and nothing of each")
    return [int(number) for number in numbers]


def is_numbered(name: str) -> bool:
    """Whether a tensor belongs to one expert."""
    return _NUMBERED.match(name) is not None


def renumbered(renamed: Mapping[str, str]) -> dict[str, str]:
    """``renamed`` (new names by old ones) with the experts that are left numbered anew, in order."""
    left = _left(renamed)
    result = {}
    for old, new in renamed.items():
        was, now = _NUMBERED.match(old), _NUMBERED.match(new)
        if was and now:
            new = f"{now[1]}{left[was[1]].index(int(was[2]))}{now[3]}"
        result[old] = new
    return result


def _left(names: Iterable[str]) -> dict[str, list[int]]:
    """The numbers of the experts of each mixture, ascending."""
    found: dict[str, set[int]] = defaultdict(set)
    for name in names:
        if (match := _NUMBERED.match(name)) is not None:
            found[match[1]].add(int(match[2]))
    return {stem: sorted(numbers) for stem, numbers in found.items()}
