"""Translation validation: the written file must compute what the plan says, or it is not written.

The oracle is the original with everything removed silenced, see
:mod:`graphprune.validation.masked_original.masked_original`. Several passes make several steps, each compared with the
model it started from, decoders over some tokens. Also checked: the normalised model against the file as it was given
(:func:`check_normalisation`), the ONNX checker, strict shape inference, and that the runtime loads and runs the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from graphprune.data.dataset import Data
from graphprune.errors import ModelError, ValidationFailed
from graphprune.ir import lean_file
from graphprune.ir.export import to_proto
from graphprune.ir.model import Model
from graphprune.ir.validity import check_valid, is_plain
from graphprune.rewrite.removal import Removal
from graphprune.runtime.sessions import Feeds, RuntimeOptions, detached, open_model, open_session, run
from graphprune.validation.branches import check_branches
from graphprune.validation.decoding import DecodingCheck
from graphprune.validation.oracle_check import OracleCheck
from graphprune.validation.unrounded import without_rounding
from graphprune.validation.yardstick import Yardstick

_ROUNDINGS = 4  # both models round, and a batch does not show the worst of it
_STRICT_INFERENCE_LIMIT_BYTES = 1 << 30


@dataclass(frozen=True)
class Validation:
    """How far the written model is from the masked original, relative to the outputs of the original.

    ``self_difference`` is how far the networks differ from themselves between optimisation levels and batch sizes, and
    by the rounding of sums where these do not explain a difference;
    ``tolerance`` is the limit, raised to a multiple of that where it needs to be.
    """

    max_relative_error: float
    tolerance: float
    samples: int
    self_difference: float


def validate(
    steps: Sequence[Removal],
    written: Path,
    data: Data,
    batch: int,
    options: RuntimeOptions,
    yardstick: Yardstick | None = None,
) -> Validation:
    """Compare each step's result with its masked original on all of ``data``; the last step's result is ``written``.

    ``yardstick`` is that of the network before any cut; by default it is taken from the first step.

    Raises
    ------
    ValidationFailed
        The outputs differ by more than the limit, are not finite in different places, or the file is not valid.
    """
    original = steps[0].model
    _check_file(written, original)
    yardstick = yardstick or Yardstick(original, data, batch, options)
    exact = Yardstick(original, data, batch, options, without_rounding) if yardstick.rounds else None
    worst, samples = 0.0, 0
    for step, following in zip(steps, (*steps[1:], None), strict=True):
        result = written if following is None else following.model
        check = OracleCheck(step, result, options, yardstick)
        if exact is not None:
            OracleCheck(step, result, options, exact).run(data, batch)
            yardstick.allow(_ROUNDINGS * check.rounding(data.first(batch)))
        error, samples = check.run(data, batch)
        error = max(error, DecodingCheck(step, result, options, yardstick).run(data, batch))
        check_branches(step, result, data, batch, options, yardstick)
        worst = max(worst, error)
    return Validation(worst, yardstick.widest_limit, samples, yardstick.self_difference)


def _check_file(path: Path, original: Model) -> None:
    """The checker, and strict shape inference where the original itself passes it:
    some operators' inference is faulty.
    """
    reason = ""
    try:
        if is_plain(to_proto(original, with_weights=False)) and not lean_file.is_large(path):
            onnx.checker.check_model(str(path))
        else:
            check_valid(lean_file.read(path), None)
    except onnx.checker.ValidationError as error:
        reason = _first_line(error)
    if not reason and path.stat().st_size < _STRICT_INFERENCE_LIMIT_BYTES:
        written = lean_file.read(path)
        reason = _strict_inference(written)
        if reason and _strict_inference(to_proto(original, with_weights=False)):
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


def outputs_of(path: Path, before: Model, feeds: Feeds, options: RuntimeOptions) -> list[np.ndarray]:
    """What the file of ``before`` gives."""
    return run(open_session(path, options, is_lean=True), feeds, [tensor.name for tensor in before.graph.outputs])


def check_written(
    written: Path, before: Model, expected: Sequence[np.ndarray], feeds: Feeds, options: RuntimeOptions
) -> None:
    """Whether a repaired or trained file still is the model it was, but for its weights, and runs; ``expected`` are the
    :func:`outputs_of` what it was.

    Raises
    ------
    ValidationFailed
        The file is not valid, or its outputs have other shapes, or are not finite where they were.
    """
    _check_file(written, before)
    names = [tensor.name for tensor in before.graph.outputs]
    for name, reference, found in zip(names, expected, outputs_of(written, before, feeds, options), strict=True):
        is_same = reference.shape == found.shape and reference.dtype == found.dtype
        if not is_same or (reference.dtype.kind == "f" and not np.isfinite(found[np.isfinite(reference)]).all()):
            raise ValidationFailed(
                f"after its repair, output '{name}' has another shape or is not finite; nothing was written",
                "please report this model; --repair none goes on without",
            )


def check_same_but_for_weights(written: Path, before: Model, feeds: Feeds, options: RuntimeOptions) -> None:
    """:func:`check_written` against the model ``before`` as it is at hand. ValidationFailed: see there."""
    names = [tensor.name for tensor in before.graph.outputs]
    check_written(written, before, run(open_model(before, options), feeds, names), feeds, options)


def check_normalisation(
    model: Model, data: Data, batch: int, options: RuntimeOptions, yardstick: Yardstick | None = None
) -> None:
    """One batch through the file as given and through the normalised model; ``yardstick`` is that of the latter."""
    feeds = data.first(batch)
    names = [tensor.name for tensor in model.graph.outputs]
    try:
        given = detached(run(open_session(model.source, options, model.folder, is_lean=True), feeds, names))
    except ModelError as error:
        raise ModelError(f"the model as given does not run: {error.message}", error.fix) from None
    normal = run(open_model(model, options), feeds, names)
    yardstick = yardstick or Yardstick(model, data, batch, options)
    for name, reference, result in zip(names, given, normal, strict=True):
        difference = yardstick.error(name, reference, result)
        if not difference <= yardstick.limit(name):
            raise ValidationFailed(
                f"normalising the model changed its output '{name}' by {difference:.2g}", "please report it"
            )
