"""Translation validation: the written file must compute what the plan says, or it is not written.

Removing a unit is the same as silencing it where it is consumed. So the original model with every removed branch
multiplied by zero is an exact oracle; it is built here from the exported protobuf, by other code than the rewrite. Also
checked: the normalised model against the file as it was given, the ONNX checker, strict shape inference, and that the
runtime loads and runs the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from graphprune.data import Data
from graphprune.errors import ModelError, ValidationFailed
from graphprune.model import Model, to_proto
from graphprune.runtime.sessions import Feeds, RuntimeOptions, open_session, run
from graphprune.structure.blocks import Block

_TOLERANCE = 1e-4
# Half precision keeps about 3 (float16) and 2 (bfloat16) digits.
_HALF_TOLERANCES: dict[int | None, float] = {onnx.TensorProto.FLOAT16: 2e-2, onnx.TensorProto.BFLOAT16: 1e-1}
_STRICT_INFERENCE_LIMIT_BYTES = 1 << 30
_OUTPUTS_LIMIT_BYTES = 256 << 20


@dataclass(frozen=True)
class Validation:
    """How far the written model is from the masked original: largest absolute difference over largest magnitude."""

    max_relative_error: float
    tolerance: float
    samples: int


def validate(model: Model, blocks: Sequence[Block], written: Path, data: Data, batch: int,
             options: RuntimeOptions) -> Validation:  # fmt: skip
    """Compare ``written`` with ``model`` whose ``blocks`` are silenced, on all of ``data``.

    Raises
    ------
    ValidationFailed
        The outputs differ by more than the tolerance, are not finite in different places, or the file is not valid.
    """
    _check_file(written)
    tolerance = _tolerance(model)
    names = [tensor.name for tensor in model.graph.outputs]
    _check_normalisation(model, data, batch, options, tolerance)
    batches = (part.feeds for part in data.batches(batch))
    worst, samples = 0.0, 0
    while expected := _expected(model, blocks, batches, names, options):
        rewritten = open_session(written, options)
        for feeds, references in expected:
            samples += len(next(iter(feeds.values())))
            for name, reference, result in zip(names, references, run(rewritten, feeds, names), strict=True):
                worst = max(worst, relative_error(reference, result))
                if not worst <= tolerance:
                    raise ValidationFailed(
                        f"output '{name}' of the rewritten model differs from the masked original by {worst:.2g} "
                        f"(tolerance {tolerance:g}); nothing was written",
                        "please report this model; exclude the block concerned to go on",
                    )
        del rewritten  # before the oracle is opened again
    return Validation(worst, tolerance, samples)


def _expected(
    model: Model, blocks: Sequence[Block], batches: Iterator[Feeds], names: list[str], options: RuntimeOptions
) -> list[tuple[Feeds, list[np.ndarray]]]:
    """What the oracle computes for the next batches, as many as fit the memory for outputs.

    Oracle and rewritten model take turns, so that only one of them is in memory.
    """
    feeds = next(batches, None)
    if feeds is None:
        return []
    oracle = open_session(masked_original(model, blocks), options, model.folder)
    expected = [(feeds, run(oracle, feeds, names))]
    held = sum(array.nbytes for array in expected[0][1])
    while held < _OUTPUTS_LIMIT_BYTES and (feeds := next(batches, None)) is not None:
        expected.append((feeds, run(oracle, feeds, names)))
        held += sum(array.nbytes for array in expected[-1][1])
    return expected


def masked_original(model: Model, blocks: Sequence[Block]) -> onnx.ModelProto:
    """The model with the branch of every block multiplied by zero.

    Where a norm follows the join, a silent branch does not yet pass the entry on; there the whole layer's output is
    multiplied by zero and the entry added.
    """
    proto = to_proto(model)
    nodes = {node.name: node for node in proto.graph.node}
    producers = {name: node for node in proto.graph.node for name in node.output}
    for block in blocks:
        silenced = block.branch if block.is_exact else block.exit
        zero = onnx.helper.make_tensor(
            f"{silenced}/zero", model.dtypes.get(silenced, onnx.TensorProto.FLOAT), [], [0.0]
        )
        proto.graph.initializer.append(zero)
        if block.is_exact:
            nodes[block.join].input[block.branch_operand] = f"{silenced}/silent"
            mask = [onnx.helper.make_node("Mul", [silenced, zero.name], [f"{silenced}/silent"])]
        else:
            producer = producers[block.exit]
            producer.output[list(producer.output).index(block.exit)] = f"{silenced}/loud"
            mask = [
                onnx.helper.make_node("Mul", [f"{silenced}/loud", zero.name], [f"{silenced}/silent"]),
                onnx.helper.make_node("Add", [f"{silenced}/silent", block.entry], [block.exit]),
            ]
        proto.graph.node.extend(mask)
    _sort_nodes(proto.graph)
    return proto


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
    return max(_HALF_TOLERANCES.get(dtype, _TOLERANCE) for dtype in dtypes)


def _check_file(path: Path) -> None:
    try:
        onnx.checker.check_model(str(path))
        if path.stat().st_size < _STRICT_INFERENCE_LIMIT_BYTES:
            onnx.shape_inference.infer_shapes(
                onnx.load(str(path), format="protobuf", load_external_data=False), strict_mode=True
            )
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValidationFailed(f"the rewritten model is not valid ONNX ({reason}); nothing was written") from None


def _check_normalisation(model: Model, data: Data, batch: int, options: RuntimeOptions, tolerance: float) -> None:
    """One batch through the file as given and through the normalised model."""
    feeds = data.first(batch)
    names = [tensor.name for tensor in model.graph.outputs]
    try:
        given = run(open_session(model.source, options, model.folder), feeds, names)
    except ModelError as error:
        raise ModelError(f"the model as given does not run: {error.message}", error.fix) from None
    normal = run(open_session(to_proto(model), options, model.folder), feeds, names)
    for name, reference, result in zip(names, given, normal, strict=True):
        difference = relative_error(reference, result)
        if not difference <= tolerance:
            raise ValidationFailed(
                f"normalising the model changed its output '{name}' by {difference:.2g}", "please report it"
            )


def _sort_nodes(graph: onnx.GraphProto) -> None:
    """Kahn's algorithm, stable in the order of the file."""
    made = {name for node in graph.node for name in node.output if name}
    ready = {name for name in made} ^ made
    pending, ordered = list(graph.node), []
    while pending:
        later = []
        for node in pending:
            if all(name not in made or name in ready for name in _all_reads(node)):
                ordered.append(node)
                ready.update(node.output)
            else:
                later.append(node)
        if len(later) == len(pending):
            raise ValidationFailed("the masked original has a cycle", "please report this model")
        pending = later
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
    del graph.node[:]
    graph.node.extend(copies)


def _all_reads(node: onnx.NodeProto) -> list[str]:
    inner = [name for attribute in node.attribute for inside in attribute.g.node for name in _all_reads(inside)]
    return [*node.input, *inner]
