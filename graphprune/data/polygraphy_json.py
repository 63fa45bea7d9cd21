"""Inputs that Polygraphy has saved (``--save-inputs``): a JSON file with a feed by input name, or a list of them.

An array is ``{"array": base64 of an .npy, "polygraphy_class": "ndarray"}``. Only that is decoded;
Polygraphy is not needed.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from graphprune.data import npy
from graphprune.errors import DataError

_CLASS = "polygraphy_class"


def feeds(path: Path) -> Iterator[dict[str, np.ndarray]]:
    """The feeds of a file, one by one.

    Raises
    ------
    DataError
        Not JSON, no feeds of arrays, or torch tensors, which Polygraphy saves as pickles.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path.name} cannot be read as JSON: {error}", "save the inputs again") from None
    for index, feed in enumerate(content if isinstance(content, list) else [content]):
        if not isinstance(feed, dict) or _CLASS in feed or not feed:
            raise DataError(
                f"{path.name} holds no inputs but {_described(feed)}",
                "give what polygraphy run --save-inputs writes: a list of feeds, arrays by input name",
            )
        yield {name: _array(value, f"'{name}' of feed {index} of {path.name}") for name, value in feed.items()}


def _array(value: Any, what: str) -> np.ndarray:
    kind = value.get(_CLASS) if isinstance(value, dict) else None
    if kind == "Tensor":
        raise DataError(f"{what} is a pickled torch tensor, which is never loaded", "save NumPy arrays")
    text = value.get("array") if isinstance(value, dict) else None
    if kind != "ndarray" or not isinstance(text, str):
        raise DataError(f"{what} is {_described(value)} and no array", "save it with polygraphy.json.save_json")
    try:
        file = io.BytesIO(base64.b64decode(text, validate=True))
        shape, fortran_order, dtype = npy.header(file)
    except (ValueError, EOFError) as error:
        raise DataError(f"{what} cannot be read as a NumPy array: {error}", "save it again") from None
    return npy.whole(file, shape, fortran_order, dtype, what)


def _described(value: Any) -> str:
    if isinstance(value, dict):
        return f"a {value[_CLASS]}" if _CLASS in value else f"an object of {len(value)} entries"
    return f"a {type(value).__name__}"
