"""Calibration and evaluation data: one loader that recognises what it is given and streams it in batches.

``.npz`` (one array per input, labels in ``labels`` or ``y``), ``.npy`` (one input), a folder of either,
``script.py:function`` (default ``load_data``), a folder of ``test_data_set_*/input_*.pb``, inputs that Polygraphy has
saved as ``.json``, a folder of pictures, ``hf:NAME`` and ``torchvision:CLASS@FOLDER``, a mapping of arrays, an iterable
of dicts, tuples or arrays (a torch or Polygraphy DataLoader, say), a tuple of arrays in the order of the inputs with
the labels last, or a reader with ``get_next()`` (ONNX Runtime's CalibrationDataReader). Which axis counts samples a
``Batching`` tells. Torch tensors count as arrays. Nothing is unpickled. Files are streamed; a source that can be read
only once is kept up to the number of samples asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from graphprune.data import sources
from graphprune.data.batching import LABEL_NAMES, ROWS, Arrays, Batch, Batching
from graphprune.data.fitting import InputSpec, converted, fits, is_float
from graphprune.data.image_form import InputForm
from graphprune.data.image_options import ImageOptions
from graphprune.data.image_sets import is_image_set, open_image_set
from graphprune.data.images import ImageFolder, ImageSet, holds_images, image_chunks
from graphprune.data.symbols import likely
from graphprune.errors import DataError
from graphprune.ir.model import Model

DEFAULT_SAMPLES = 512


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
class TokenNames:
    """The inputs that take token ids and, unless empty, which of them are no padding."""

    ids: str
    mask: str = ""


@dataclass(frozen=True)
class Data:
    """Samples that fit a model. Iterate with :meth:`batches`, as often as needed.

    ``kind`` is ``synthetic`` or how the data came (``npz``, ``script`` ...); ``origin`` is for messages and reports.
    With ``has_free_labels`` labels may be arrays of any kind, a row for each sample; else they are class numbers.
    ``conversions`` tells of inputs whose dtype was changed or that were made, as far as they have been read.
    ``tokens``: which inputs hold them, where the samples are tokens of a language.
    """

    specs: tuple[InputSpec, ...]
    chunks: Callable[[], Iterator[Arrays]]
    kind: str
    origin: str
    limit: int | None = None
    batching: Batching = ROWS
    has_free_labels: bool = False
    conversions: dict[str, str] = field(default_factory=dict, compare=False)
    tokens: TokenNames | None = None

    @property
    def fixed_batch(self) -> int | None:
        """The batch size the graph insists on, if it does."""
        return self.batching.size

    def facts(self) -> dict[str, Any]:
        """What a plan keeps of where the scores came from; the batch axes where samples are not the rows of all."""
        facts = {"kind": self.kind, "origin": self.origin, "limit": self.limit}
        return facts if self.batching.is_rows else facts | {"batch_axes": dict(self.batching.axes)}

    def batches(self, size: int) -> Iterator[Batch]:
        """Batches of ``size`` samples, the last one smaller; of exactly the graph's own size where that is fixed.

        Samples that cannot share a run, for they differ in another axis or in an input that serves all of them, end a
        batch.

        Raises
        ------
        DataError
            An array has a wrong name, dtype, shape or row count, holds NaN or infinity, or there is not one full batch.
        """
        fixed = self.fixed_batch
        wanted, left = fixed or size, self.limit
        pending: list[Batch] = []
        waiting = produced = 0
        for chunk in self.parts():
            if left is not None:
                chunk = chunk.pick(slice(0, left))
                left -= len(chunk)
            if waiting and len(chunk) and not chunk.joins(pending[0]):
                if fixed is None:
                    yield Batch.join(pending)
                    produced += 1
                pending, waiting = [], 0
            if len(chunk):
                pending.append(chunk)
                waiting += len(chunk)
            if waiting >= wanted:
                joined = Batch.join(pending)
                for start in range(0, waiting - wanted + 1, wanted):
                    yield joined.pick(slice(start, start + wanted))
                    produced += 1
                rest = waiting % wanted
                pending, waiting = [joined.pick(slice(waiting - rest, waiting))] if rest else [], rest
            if left == 0:
                break
        if waiting and fixed is None:
            yield Batch.join(pending)
            produced += 1
        if not produced:
            need = f"a batch of {fixed}, the size the graph insists on" if fixed and fixed > 1 else "one sample"
            raise DataError(f"{self.origin} holds less than {need}", "give more data")

    def at_most(self, samples: int) -> Data:
        """The first ``samples`` of these, or all where there are fewer."""
        return replace(self, limit=samples if self.limit is None else min(samples, self.limit))

    def first(self, size: int = 1) -> Arrays:
        """Feeds of exactly ``size`` samples (or of the graph's fixed batch),
        repeating samples where there are fewer.
        """
        wanted = self.fixed_batch or size
        return self.batching.resized(next(self.batches(wanted)).feeds, wanted)

    def parts(self) -> Iterator[Batch]:
        """What the source gives, part by part, as far as it is read; each fits the model but for its size.

        Raises
        ------
        DataError
            As :meth:`batches`.
        """
        for arrays in self.chunks():
            yield from self._checked(arrays)

    def _checked(self, arrays: Arrays) -> Iterator[Batch]:
        """The samples of a chunk: one batch, or several where each has an array of its own for what serves all."""
        names = {spec.name for spec in self.specs}
        labels = next((arrays[name] for name in LABEL_NAMES if name in arrays and name not in names), None)
        given = {name: array for name, array in arrays.items() if name in names}
        rest = [name for name in arrays if name not in names and name not in LABEL_NAMES]
        if not given and len(self.specs) == 1 and len(rest) == 1:
            given = {self.specs[0].name: arrays[rest[0]]}
        given = {name: self._unstacked(name, array) for name, array in given.items()}
        stacked = {name for name, array in given.items() if self._is_stacked(name, array)}
        feeds = {spec.name: self._fit(spec, given.get(spec.name), arrays, spec.name in stacked) for spec in self.specs}
        rows = {}
        for name, array in feeds.items():
            axis = 0 if name in stacked else self.batching.axis(name)
            if axis is not None:
                rows[name] = array.shape[axis]
        if labels is not None:
            labels = labels if self.has_free_labels else _label_vector(labels, self.origin)
            rows["labels"] = len(labels)
            if not self.batching.counts_samples and not stacked:
                rows["runs"] = 1
        if len(set(rows.values())) > 1:
            counts = ", ".join(f"{name}: {count}" for name, count in rows.items())
            raise DataError(f"the arrays of {self.origin} differ in their number of samples ({counts})", "align them")
        if not stacked:
            yield Batch(feeds, labels, self.batching)
            return
        for index in range(next(iter(rows.values()))):
            part = slice(index, index + 1)
            plain = {name: array for name, array in feeds.items() if name not in stacked}
            own = {name: np.asarray(feeds[name][index]) for name in feeds if name in stacked}
            one = (self.batching.pick(plain, part) if self.batching.counts_samples else plain) | own
            yield Batch({name: one[name] for name in feeds}, None if labels is None else labels[part], self.batching)

    def _is_stacked(self, name: str, array: np.ndarray) -> bool:
        """Whether this is one array for each sample, though one serves all samples of a run."""
        dims = next(spec.dims for spec in self.specs if spec.name == name)
        return self.batching.axis(name) is None and array.ndim == len(dims) + 1

    def _unstacked(self, name: str, array: np.ndarray) -> np.ndarray:
        """Without the axis of a stack of one."""
        return np.asarray(array[0]) if self._is_stacked(name, array) and len(array) == 1 else array

    def _fit(self, spec: InputSpec, array: np.ndarray | None, arrays: Arrays, is_stacked: bool) -> np.ndarray:
        if array is None:
            held = ", ".join(f"'{name}'" for name in arrays) or "nothing"
            raise DataError(f"{self.origin} has no array for input {spec}; it holds {held}", "rename the array")
        axis = self.batching.axis(spec.name)
        have = f"'{spec.name}' of {self.origin} is {array.dtype} {list(array.shape)}"
        if not fits(spec, array.shape[1:] if is_stacked else array.shape, axis):
            raise DataError(f"{have}, the model wants {spec}", _shape_advice(axis))
        given = array.dtype
        array = converted(array, spec, have)
        if array.dtype != given:
            what = f"'{spec.name}' is {given} in {self.origin}, the model wants {array.dtype}"
            is_rounded = is_float(given) and given.itemsize > array.dtype.itemsize
            how = "rounded to it" if is_rounded else "converted, values as they are"
            self.conversions[spec.name] = f"{what}: {how}"
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise DataError(f"{have} and holds NaN or infinity", "clean the data")
        return array


def _shape_advice(axis: int | None) -> str:
    if axis is None:
        return "it serves all samples of a run: give it as the model takes it, or name its --input-batch-axis"
    if axis == 0:
        return "the first axis counts samples, the rest must match"
    return f"axis {axis} counts samples, the rest must match; --input-batch-axis says otherwise"


def load_data(
    source: Any,
    model: Model,
    limit: int | None = DEFAULT_SAMPLES,
    batching: Batching | None = None,
    images: ImageOptions | None = None,
) -> Data:
    """Recognise ``source`` (see the module's docstring) and bind it to the model's inputs.

    ``limit`` is the largest number of samples to use; None takes all. ``batching`` is what was found of the model;
    None: what the symbols of its shapes tell.
    """
    specs = tuple(input_specs(model))
    if isinstance(source, Data):
        return source
    batching = batching or likely(specs)

    def bound(kind: str, origin: str, chunks: Callable[[], Iterator[Any]]) -> Data:
        return Data(specs, _named(chunks, specs, batching, origin), kind, origin, limit, batching)

    if isinstance(source, str | Path) and holds_images(Path(source)):
        return _pictures(Path(source).name, lambda: ImageFolder(Path(source)), specs, batching, images, limit)
    if is_image_set(source):
        return _pictures(source, lambda: open_image_set(source), specs, batching, images, limit)
    if isinstance(source, str | Path):
        kind, chunks = sources.from_path(str(source), as_rows=batching.is_rows)
        return bound(kind, str(source).rpartition("/")[2], chunks)
    if sources.is_one_item(source):
        origin = "the given array" if isinstance(source, np.ndarray) else "the given arrays"
        return bound("arrays", origin, lambda: iter([source]))
    if hasattr(source, "get_next") or isinstance(source, Iterable) or hasattr(source, "__getitem__"):
        return bound("reader", "the given reader", _kept(source, limit, specs, batching))
    raise DataError(f"cannot read data from a {type(source).__name__}", "give a path, arrays, or a reader")


def _pictures(
    name: str,
    opened: Callable[[], ImageSet],
    specs: tuple[InputSpec, ...],
    batching: Batching,
    options: ImageOptions | None,
    limit: int | None,
) -> Data:
    if len(specs) != 1:
        raise DataError(f"{name} holds pictures, the model has {len(specs)} inputs", "give --data as .npz")
    options = options or ImageOptions()
    InputForm.of(specs[0], options)  # what is refused is refused before the work
    images, found = opened(), {}
    if options.says_nothing and specs[0].dtype.kind == "f":
        found[specs[0].name] = (
            f"the pictures of {name} are scaled to [0, 1] and nothing else; --preprocess, or --mean and --std, "
            "say what the network was trained with"
        )
    chunks = partial(image_chunks, images, specs[0], options)
    return Data(specs, chunks, "images", name, limit, batching, conversions=found)


def _named(
    chunks: Callable[[], Iterator[Any]], specs: tuple[InputSpec, ...], batching: Batching, origin: str
) -> Callable[[], Iterator[Arrays]]:
    """Give names to what comes as a bare array or a tuple in the order of the inputs."""

    def named() -> Iterator[Arrays]:
        for item in chunks():
            if isinstance(item, Mapping):
                held = {str(name): _array(array, f"array '{name}' of {origin}") for name, array in item.items()}
            else:
                parts = item if isinstance(item, tuple | list) else (item,)
                names = [spec.name for spec in specs] + [LABEL_NAMES[0]]
                if len(parts) > len(names) or len(parts) < len(specs):
                    raise DataError(
                        f"a sample has {len(parts)} arrays, the model {len(specs)} inputs", "name them in a dict"
                    )
                named_parts = zip(names, parts, strict=False)
                held = {name: _array(part, f"'{name}' of {origin}") for name, part in named_parts}
            yield from sources.pieces(held) if batching.is_rows else [held]

    return named


def _array(values: Any, what: str) -> np.ndarray:
    try:
        return sources.as_array(values)
    except ValueError:
        raise DataError(f"{what} is a list of rows of different lengths", "give a rectangular array") from None


def _kept(
    source: Any, limit: int | None, specs: tuple[InputSpec, ...], batching: Batching
) -> Callable[[], Iterator[Any]]:
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
            rows += _count(item, specs, batching)
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


def _count(item: Any, specs: tuple[InputSpec, ...], batching: Batching) -> int:
    """How many samples an item of a reader holds, by its first array that counts them."""
    if isinstance(item, Mapping):
        arrays = {str(name): array for name, array in item.items()}
    else:
        names = [spec.name for spec in specs]
        arrays = dict(zip(names, item if isinstance(item, tuple | list) else (item,), strict=False))
    for name, array in arrays.items():
        axis = batching.axis(name)
        if axis == 0:
            return len(array)
        if axis is not None:
            return int(sources.as_array(array).shape[axis])
    return 1
