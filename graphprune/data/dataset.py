"""Calibration and evaluation data: one loader that recognises what it is given and streams it in batches.

``.npz`` (one array per input, first axis = samples; labels in ``labels`` or ``y``), ``.npy`` (one input), a folder of
either, ``script.py:function`` (default ``load_data``), a folder of ``test_data_set_*/input_*.pb``,
inputs that Polygraphy has saved as ``.json``, a mapping of arrays, an iterable of dicts, tuples or arrays (a torch or
Polygraphy DataLoader, say), a tuple of arrays in the order of the inputs with the labels last, or a reader with
``get_next()`` (ONNX Runtime's CalibrationDataReader). Torch tensors count as arrays. Nothing is unpickled. Files are
streamed; a source that can be read only once is kept up to the number of samples asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from graphprune.data import sources
from graphprune.errors import DataError
from graphprune.ir.model import Model, Shape

LABEL_NAMES = ("labels", "y")
DEFAULT_SAMPLES = 512

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class InputSpec:
    """A graph input: name, NumPy dtype and dims (free dimensions by name or None)."""

    name: str
    dtype: np.dtype[Any]
    dims: Shape

    def __str__(self) -> str:
        return f"'{self.name}' {self.dtype} [{', '.join('?' if d is None else str(d) for d in self.dims)}]"


@dataclass(frozen=True)
class Batch:
    """Feeds for one run and, where known, one class label per sample (int64, shape (n,))."""

    feeds: Arrays
    labels: np.ndarray | None

    def __len__(self) -> int:
        return len(next(iter(self.feeds.values())))


def input_specs(model: Model) -> list[InputSpec]:
    """The graph's inputs, in order; initialisers listed as inputs are not among them."""
    specs = []
    for tensor in model.graph.inputs:
        dtype = model.dtypes[tensor.name]
        specs.append(
            InputSpec(tensor.name, onnx.helper.tensor_dtype_to_np_dtype(dtype), model.shapes.get(tensor.name, ()))
        )
    return specs


@dataclass(frozen=True)
class Data:
    """Samples that fit a model. Iterate with :meth:`batches`, as often as needed.

    ``kind`` is ``synthetic`` or how the data came (``npz``, ``script`` ...); ``origin`` is for messages and reports.
    """

    specs: tuple[InputSpec, ...]
    chunks: Callable[[], Iterator[Arrays]]
    kind: str
    origin: str
    limit: int | None = None

    @property
    def fixed_batch(self) -> int | None:
        """The batch size the graph insists on, if it does."""
        sizes = [spec.dims[0] for spec in self.specs if spec.dims]
        return next((size for size in sizes if isinstance(size, int)), None)

    def batches(self, size: int) -> Iterator[Batch]:
        """Batches of ``size`` samples, the last one smaller; of exactly the graph's own size where that is fixed.

        Raises
        ------
        DataError
            An array has a wrong name, dtype, shape or row count, holds NaN or infinity, or there is not one full batch.
        """
        fixed = self.fixed_batch
        wanted, left = fixed or size, self.limit
        pending: list[Batch] = []
        waiting = produced = 0
        for arrays in self.chunks():
            chunk = self._checked(arrays)
            if left is not None:
                chunk = _rows(chunk, 0, left)
                left -= len(chunk)
            pending.append(chunk)
            waiting += len(chunk)
            if waiting >= wanted:
                joined = _join(pending)
                for start in range(0, waiting - wanted + 1, wanted):
                    yield _rows(joined, start, start + wanted)
                    produced += 1
                waiting %= wanted
                pending = [_rows(joined, len(joined) - waiting, len(joined))] if waiting else []
            if left == 0:
                break
        if waiting and fixed is None:
            yield _join(pending)
            produced += 1
        if not produced:
            need = f"a batch of {fixed}, the size the graph insists on" if fixed else "one sample"
            raise DataError(f"{self.origin} holds less than {need}", "give more data")

    def first(self, size: int = 1) -> Arrays:
        """Feeds of exactly ``size`` samples (or of the graph's fixed batch),
        repeating samples where there are fewer.
        """
        wanted = self.fixed_batch or size
        feeds = next(self.batches(wanted)).feeds
        return {name: np.resize(array, (wanted, *array.shape[1:])) for name, array in feeds.items()}

    def _checked(self, arrays: Arrays) -> Batch:
        names = {spec.name for spec in self.specs}
        labels = next((arrays[name] for name in LABEL_NAMES if name in arrays and name not in names), None)
        given = {name: array for name, array in arrays.items() if name in names}
        rest = [name for name in arrays if name not in names and name not in LABEL_NAMES]
        if not given and len(self.specs) == 1 and len(rest) == 1:
            given = {self.specs[0].name: arrays[rest[0]]}
        feeds = {spec.name: self._fit(spec, given.get(spec.name), arrays) for spec in self.specs}
        rows = {name: len(array) for name, array in feeds.items()}
        if labels is not None:
            labels = _label_vector(labels, self.origin)
            rows["labels"] = len(labels)
        if len(set(rows.values())) > 1:
            counts = ", ".join(f"{name}: {count}" for name, count in rows.items())
            raise DataError(f"the arrays of {self.origin} differ in their number of samples ({counts})", "align them")
        return Batch(feeds, labels)

    def _fit(self, spec: InputSpec, array: np.ndarray | None, arrays: Arrays) -> np.ndarray:
        if array is None:
            held = ", ".join(f"'{name}'" for name in arrays) or "nothing"
            raise DataError(f"{self.origin} has no array for input {spec}; it holds {held}", "rename the array")
        if not spec.dims:
            raise DataError(
                f"input {spec} of the model has no sample axis", "make it a constant or give it a first axis"
            )
        have = f"'{spec.name}' of {self.origin} is {array.dtype} {list(array.shape)}"
        if array.dtype != spec.dtype:
            raise DataError(f"{have}, the model wants {spec}", f"convert it with .astype('{spec.dtype}')")
        fits = array.ndim == len(spec.dims) and all(
            not isinstance(dim, int) or dim == size for dim, size in zip(spec.dims[1:], array.shape[1:], strict=False)
        )
        if not fits or array.ndim == 0:
            raise DataError(f"{have}, the model wants {spec}", "the first axis counts samples, the rest must match")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise DataError(f"{have} and holds NaN or infinity", "clean the data")
        return array


def load_data(source: Any, model: Model, limit: int | None = DEFAULT_SAMPLES) -> Data:
    """Recognise ``source`` (see the module's docstring) and bind it to the model's inputs.

    ``limit`` is the largest number of samples to use; None takes all.
    """
    specs = tuple(input_specs(model))
    if isinstance(source, Data):
        return source
    if isinstance(source, str | Path):
        kind, chunks = sources.from_path(str(source))
        origin = str(source).rpartition("/")[2]
        return Data(specs, _named(chunks, specs, origin), kind, origin, limit)
    if sources.is_one_item(source):
        origin = "the given array" if isinstance(source, np.ndarray) else "the given arrays"
        return Data(specs, _named(lambda: iter([source]), specs, origin), "arrays", origin, limit)
    if hasattr(source, "get_next") or isinstance(source, Iterable) or hasattr(source, "__getitem__"):
        return Data(specs, _named(_kept(source, limit), specs, "the given reader"), "reader", "the given reader", limit)
    raise DataError(f"cannot read data from a {type(source).__name__}", "give a path, arrays, or a reader")


def synthetic(
    model: Model,
    seed: int,
    samples: int,
    shapes: Mapping[str, tuple[int, ...]],
    ranges: Mapping[str, tuple[float, float]],
) -> Data:
    """Random inputs for a model without data: uniform in [0, 1] or in the range given;
    ids below the embedding's size.
    """
    specs = tuple(input_specs(model))
    generator = np.random.default_rng(seed)
    arrays = {
        spec.name: sources.random_array(model, spec.name, spec.dtype, spec.dims, generator, samples, shapes, ranges)
        for spec in specs
    }
    return Data(specs, lambda: iter([arrays]), "synthetic", "synthetic inputs", samples)


def _named(
    chunks: Callable[[], Iterator[Any]], specs: tuple[InputSpec, ...], origin: str
) -> Callable[[], Iterator[Arrays]]:
    """Give names to what comes as a bare array or a tuple in the order of the inputs."""

    def named() -> Iterator[Arrays]:
        for item in chunks():
            if isinstance(item, Mapping):
                held = {str(name): _array(array, f"array '{name}' of {origin}") for name, array in item.items()}
                yield from sources.pieces(held)
                continue
            parts = item if isinstance(item, tuple | list) else (item,)
            names = [spec.name for spec in specs] + [LABEL_NAMES[0]]
            if len(parts) > len(names) or len(parts) < len(specs):
                raise DataError(
                    f"a sample has {len(parts)} arrays, the model {len(specs)} inputs", "name them in a dict"
                )
            named_parts = zip(names, parts, strict=False)
            yield from sources.pieces({name: _array(part, f"'{name}' of {origin}") for name, part in named_parts})

    return named


def _array(values: Any, what: str) -> np.ndarray:
    try:
        return sources.as_array(values)
    except ValueError:
        raise DataError(f"{what} is a list of rows of different lengths", "give a rectangular array") from None


def _kept(source: Any, limit: int | None) -> Callable[[], Iterator[Any]]:
    """Make a stream restartable by keeping what it gave, up to the number of samples that will be used.

    All of something that can be iterated again (a list, a DataLoader) is read anew each time instead:
    it may not fit into memory.
    """
    kept: list[Any] = []

    def read() -> Iterator[Any]:
        if limit is None and not hasattr(source, "get_next") and not isinstance(source, Iterator):
            yield from source
            return
        if kept:
            yield from kept
            return
        items = iter(source.get_next, None) if hasattr(source, "get_next") else iter(source)
        rows = 0
        for item in items:
            if isinstance(item, Mapping) and not item:
                raise DataError(
                    "the given reader gives no arrays", "name the inputs (Polygraphy's DataLoader: by input_metadata)"
                )
            first = next(iter(item.values())) if isinstance(item, Mapping) else item
            rows += len(first[0] if isinstance(first, tuple | list) else first)
            kept.append(item)
            if limit is not None and rows >= limit:
                break
        yield from kept

    return read


def _label_vector(labels: np.ndarray, origin: str) -> np.ndarray:
    if labels.ndim == 2 and labels.shape[1] > 1:
        labels = labels.argmax(1)
    if labels.ndim == 0 or labels.size != len(labels) or labels.dtype.kind not in "iu":
        raise DataError(f"the labels of {origin} are {labels.dtype} {list(labels.shape)}", "give one class number each")
    return labels.reshape(-1).astype(np.int64)


def _rows(batch: Batch, start: int, stop: int) -> Batch:
    labels = None if batch.labels is None else batch.labels[start:stop]
    return Batch({name: array[start:stop] for name, array in batch.feeds.items()}, labels)


def _join(batches: list[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    labels = [batch.labels for batch in batches if batch.labels is not None]
    feeds = {name: np.concatenate([batch.feeds[name] for batch in batches]) for name in batches[0].feeds}
    return Batch(feeds, np.concatenate(labels) if len(labels) == len(batches) else None)
