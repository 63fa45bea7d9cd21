"""The ``.npy`` format, read from a stream: never a pickle, and no array larger than the bytes that are there."""

from __future__ import annotations

import sys
from math import prod
from typing import Any

import numpy as np

from graphprune.errors import DataError

Header = tuple[tuple[int, ...], bool, np.dtype[Any]]


def header(file: Any) -> Header:
    """Shape, Fortran order and dtype of the array that follows; ``file`` stands at its bytes then.

    Raises
    ------
    ValueError
        No .npy, pickled objects, or an order in which rows cannot be read one after the other.
    """
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran_order, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("it holds pickled objects, which are never loaded")
    if fortran_order and len(shape) > 1:
        raise ValueError("an array is in Fortran order; save numpy.ascontiguousarray of it")
    return shape, fortran_order, dtype


def rows(file: Any, count: int, shape: tuple[int, ...], _: bool, dtype: np.dtype[Any], origin: str) -> np.ndarray:
    """The next ``count`` rows of an array with that header.

    Raises
    ------
    DataError
        The stream ends before.
    """
    size = count * prod(shape[1:]) * dtype.itemsize
    data = file.read(min(size, sys.maxsize))
    if len(data) != size:
        raise DataError(f"{origin} is truncated", "save it again")
    return np.frombuffer(data, dtype).reshape(count, *shape[1:])


def whole(file: Any, shape: tuple[int, ...], fortran_order: bool, dtype: np.dtype[Any], origin: str) -> np.ndarray:
    """All of an array with that header, a single number too.

    Raises
    ------
    DataError
        The stream ends before.
    """
    dims = shape or (1,)
    return rows(file, dims[0], dims, fortran_order, dtype, origin).reshape(shape)
