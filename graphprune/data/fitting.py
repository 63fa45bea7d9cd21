"""One array made to fit one input: its shape, and its dtype where no value changes by that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from graphprune.errors import DataError
from graphprune.ir.model import Shape


@dataclass(frozen=True)
class InputSpec:
    """A graph input: name, NumPy dtype and dims (free dimensions by name or None)."""

    name: str
    dtype: np.dtype[Any]
    dims: Shape

    def __str__(self) -> str:
        return f"'{self.name}' {self.dtype} [{', '.join('?' if d is None else str(d) for d in self.dims)}]"


def fits(spec: InputSpec, shape: tuple[int, ...], axis: int | None) -> bool:
    """Whether an array of this shape can go in; its size along ``axis`` is not looked at."""
    return len(shape) == len(spec.dims) and all(
        not isinstance(dim, int) or dim == size or index == axis
        for index, (dim, size) in enumerate(zip(spec.dims, shape, strict=True))
    )


def converted(array: np.ndarray, spec: InputSpec, have: str) -> np.ndarray:
    """``array`` in the dtype of the input; ``have`` names it in messages.

    Raises
    ------
    DataError
        Values would change by more than the model's own, narrower type rounds them.
    """
    if array.dtype == spec.dtype:
        return array
    if spec.dtype.kind == "O" and array.dtype.kind in "US":
        return array.astype(str).astype(object)
    if array.dtype.kind not in "iufbV" or (array.dtype.kind == "V" and not is_float(array.dtype)):
        raise DataError(f"{have}, the model wants {spec}", f"convert it with .astype('{spec.dtype}')")
    with np.errstate(all="ignore"):
        result = array.astype(spec.dtype)
    if is_float(array.dtype) and is_float(spec.dtype):
        kept = bool((np.isfinite(result.astype(np.float64)) == np.isfinite(array.astype(np.float64))).all())
        is_lost = not kept
    else:
        is_lost = not np.array_equal(result.astype(array.dtype), array) or _wraps(array, result)
    if is_lost:
        raise DataError(
            f"{have}, the model wants {spec}, and in {spec.dtype} its values would not be the same",
            f"convert it with .astype('{spec.dtype}') as you mean it",
        )
    return result


def _wraps(array: np.ndarray, result: np.ndarray) -> bool:
    """Whether integers have changed their sign on the way, which the way back undoes."""
    return bool(array.size and array.dtype.kind in "iu" and (np.asarray(array < 0) != np.asarray(result < 0)).any())


def is_float(dtype: np.dtype[Any]) -> bool:
    """Floating point of NumPy's own, or one of those that ONNX brings."""
    return dtype.kind == "f" or dtype.name.startswith(("bfloat", "float"))
