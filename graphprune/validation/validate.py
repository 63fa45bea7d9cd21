"""Translation validation: the written file must compute what the plan says, or it is not written.

The oracle is the original with everything removed silenced, see
:mod:`graphprune.validation.masked_original.masked_original`. Several passes make several steps, each compared with the
model it started from. Also checked: the normalised model against the file as it was given
(:func:`check_normalisation`), the ONNX checker, strict shape inference, and that the runtime loads and runs the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from graphprune.data.dataset import Data
from graphprune.errors import ModelError, ValidationFailed
from graphprune.ir.export import to_proto
from graphprune.ir.model import Model
from graphprune.rewrite.removal import Removal
from graphprune.runtime.sessions import Feeds, RuntimeOptions, open_model, open_session, run
from graphprune.validation.masked_original import masked_original
from graphprune.validation.unrounded import is_quantised, without_rounding

_TOLERANCE = 1e-4
# Half precision keeps about 3 (float16) and 2 (bfloat16) digits.
_HALF_TOLERANCES: dict[int | None, float] = {onnx.TensorProto.FLOAT16: 2e-2, onnx.TensorProto.BFLOAT16: 1e-1}
_QUANTISED_TOLERANCE = 5e-2  # some steps of 256
_ROUNDINGS = 4  # both models round, and a batch does not show the worst of it
_STRICT_INFERENCE_LIMIT_BYTES = 1 << 30
_OUTPUTS_LIMIT_BYTES = 256 << 20

_View = Callable[[onnx.ModelProto, Path | None], onnx.ModelProto]


@dataclass(frozen=True)
class Validation:
    """How far the written model is from the masked original: largest absolute difference over largest magnitude."""

    max_relative_error: float
    tolerance: float
    samples: int


def validate(steps: Sequence[Removal], written: Path, data: Data, batch: int, options: RuntimeOptions) -> Validation:
    """Compare each step's result with its masked original on all of ``data``; the last step's result is ``written``.

    Raises
    ------
    ValidationFailed
        The outputs differ by more than the tolerance, are not finite in different places, or the file is not valid.
    """
    original = steps[0].model
    _check_file(written, original)
    tolerance = _tolerance(original)
    worst, samples = 0.0, 0
    for step, following in zip(steps, (*steps[1:], None), strict=True):
        result = written if following is None else following.model
        if is_quantised(step.model):
            _compare(step, result, data, batch, options, _TOLERANCE, without_rounding)
            tolerance = max(tolerance, _ROUNDINGS * _rounding_error(step, data, batch, options))
        error, samples = _compare(step, result, data, batch, options, tolerance)
        worst = max(worst, error)
    return Validation(worst, tolerance, samples)


def _compare(
    step: Removal,
    result: Path | Model,
    data: Data,
    batch: int,
    options: RuntimeOptions,
    tolerance: float,
    seen: _View | None = None,
) -> tuple[float, int]:
    """Largest relative error of ``result`` against the oracle and the number of samples, for both as ``seen``."""
    names = [tensor.name for tensor in step.model.graph.outputs]
    batches = (part.feeds for part in data.batches(batch))
    worst, samples = 0.0, 0
    while expected := _expected(step, batches, names, options, seen):
        rewritten = _opened(result, options, seen)
        for feeds, references in expected:
            samples += len(next(iter(feeds.values())))
            for name, reference, found in zip(names, references, run(rewritten, feeds, names), strict=True):
                worst = max(worst, relative_error(reference, found))
                if not worst <= tolerance:
                    raise ValidationFailed(
                        f"output '{name}' of the rewritten model differs from the masked original by {worst:.2g} "
                        f"(tolerance {tolerance:g}); nothing was written",
                        "please report this model; exclude the unit concerned to go on",
                    )
        del rewritten  # before the oracle is opened again
    return worst, samples


def _rounding_error(step: Removal, data: Data, batch: int, options: RuntimeOptions) -> float:
    """How far what a quantised oracle computes of one batch is from the same without the rounding of activations."""
    names, views = [tensor.name for tensor in step.model.graph.outputs], (without_rounding, None)
    exact, rounded = (_expected(step, iter([data.first(batch)]), names, options, seen)[0][1] for seen in views)
    errors = [relative_error(one, other) for one, other in zip(exact, rounded, strict=True)]
    return max((error for error in errors if np.isfinite(error)), default=0.0)


def _expected(
    step: Removal, batches: Iterator[Feeds], names: list[str], options: RuntimeOptions, seen: _View | None
) -> list[tuple[Feeds, list[np.ndarray]]]:
    """What the oracle computes for the next batches, as many as fit the memory for outputs.

    Oracle and rewritten model take turns, so that only one of them is in memory.
    """
    feeds = next(batches, None)
    if feeds is None:
        return []
    folder = step.model.folder
    oracle = open_session(
        lambda: masked_original(step) if seen is None else seen(masked_original(step), folder), options, folder
    )
    expected = [(feeds, run(oracle, feeds, names))]
    held = sum(array.nbytes for array in expected[0][1])
    while held < _OUTPUTS_LIMIT_BYTES and (feeds := next(batches, None)) is not None:
        expected.append((feeds, run(oracle, feeds, names)))
        held += sum(array.nbytes for array in expected[-1][1])
    return expected


def _opened(result: Path | Model, options: RuntimeOptions, seen: _View | None) -> Any:
    """A session of the rewritten model."""
    if seen is None:
        return open_session(result, options) if isinstance(result, Path) else open_model(result, options)
    folder = result.parent if isinstance(result, Path) else result.folder
    proto = onnx.load(result, load_external_data=False) if isinstance(result, Path) else to_proto(result)
    return open_session(seen(proto, folder), options, folder)


def relative_error(reference: np.ndarray, result: np.ndarray) -> float:
    """``max|a - b| / max|a|``; infinite where shapes, dtypes or the places of NaN and infinity differ."""
    if reference.shape != result.shape or reference.dtype != result.dtype:
        return float("inf")
    if reference.size == 0:
        return 0.0
    if reference.dtype.kind not in "fV":
        return 0.0 if np.array_equal(reference, result) else float("inf")
    a, b = reference.astype(np.float64), result.astype(np.float64)
    finite = np.isfinite(a)
    if not np.array_equal(finite, np.isfinite(b)) or not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return float("inf")
    scale = float(np.abs(a[finite]).max(initial=0.0))
    difference = float(np.abs(a[finite] - b[finite]).max(initial=0.0))
    return difference / scale if scale else (0.0 if difference == 0 else float("inf"))


def _tolerance(model: Model) -> float:
    dtypes = {model.dtypes.get(tensor.name) for node in model.graph.nodes for tensor in node.outputs}
    tolerance = max(_HALF_TOLERANCES.get(dtype, _TOLERANCE) for dtype in dtypes)
    return max(tolerance, _QUANTISED_TOLERANCE) if is_quantised(model) else tolerance


def _check_file(path: Path, original: Model) -> None:
    """The checker, and strict shape inference where the original itself passes it:
    some operators' inference is faulty.
    """
    reason = ""
    try:
        onnx.checker.check_model(str(path))
    except onnx.checker.ValidationError as error:
        reason = _first_line(error)
    if not reason and path.stat().st_size < _STRICT_INFERENCE_LIMIT_BYTES:
        written = onnx.load(str(path), format="protobuf", load_external_data=False)
        reason = _strict_inference(written)
        if reason and _strict_inference(to_proto(original)):
            reason = ""
    if reason:
        raise ValidationFailed(f"the rewritten model is not valid ONNX ({reason}); nothing was written")


def _strict_inference(proto: onnx.ModelProto) -> str:
    """What strict shape inference objects to; empty if nothing."""
    try:
        onnx.shape_inference.infer_shapes(proto, strict_mode=True)
    except onnx.shape_inference.InferenceError as error:
        return _first_line(error)
    return ""


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def check_written(written: Path, before: Model, feeds: Feeds, options: RuntimeOptions) -> None:
    """Whether a repaired or trained file still is the model it was, but for its weights, and runs.

    Raises
    ------
    ValidationFailed
        The file is not valid, or its outputs have other shapes, or are not finite where they were.
    """
    _check_file(written, before)
    names = [tensor.name for tensor in before.graph.outputs]
    expected = run(open_model(before, options), feeds, names)
    for name, reference, found in zip(names, expected, run(open_session(written, options), feeds, names), strict=True):
        is_same = reference.shape == found.shape and reference.dtype == found.dtype
        if not is_same or (reference.dtype.kind == "f" and not np.isfinite(found[np.isfinite(reference)]).all()):
            raise ValidationFailed(
                f"after its repair, output '{name}' has another shape or is not finite; nothing was written",
                "please report this model; --repair none goes on without",
            )


def check_normalisation(model: Model, data: Data, batch: int, options: RuntimeOptions) -> None:
    """One batch through the file as given and through the normalised model."""
    tolerance = _tolerance(model)
    feeds = data.first(batch)
    names = [tensor.name for tensor in model.graph.outputs]
    try:
        given = run(open_session(model.source, options, model.folder), feeds, names)
    except ModelError as error:
        raise ModelError(f"the model as given does not run: {error.message}", error.fix) from None
    normal = run(open_model(model, options), feeds, names)
    for name, reference, result in zip(names, given, normal, strict=True):
        difference = relative_error(reference, result)
        if not difference <= tolerance:
            raise ValidationFailed(
                f"normalising the model changed its output '{name}' by {difference:.2g}", "please report it"
            )
