"""What must hold of every rewrite, whatever the model and whatever was removed. Each oracle is its own function.

None of them trusts the rewrite: outputs are compared with the masked original,
weights are poisoned where they should have left, costs are counted on the written graph,
and ONNX Runtime and the ONNX checker judge the file.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import onnxruntime as ort

from graphprune.analysis.cost import model_cost
from graphprune.analysis.groups import Group
from graphprune.analysis.sizes import concrete_sizes
from graphprune.analysis.unit_cost import UnitCost
from graphprune.axes import algebra
from graphprune.axes.algebra import Atom, Axes, Kept
from graphprune.axes.typing import Typing
from graphprune.ir import validity
from graphprune.ir.bodies import all_nodes
from graphprune.ir.export import to_proto
from graphprune.ir.model import Model, constant_dims, constants, read_values
from graphprune.rewrite import remove_units
from graphprune.rewrite.removal import Removal
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.validation.difference import relative_error
from graphprune.validation.masked_original import masked_original
from tests.graphs import Arrays, run

TOLERANCE = 1e-4
_ONE_THREAD = RuntimeOptions(threads=1)
_SELECTORS = ("Gather", "GatherND", "GatherElements", "Slice", "Split", "Identity", "Compress", "Mul", "Where", "Pad")


def check_rewrite(model: Model, typing: Typing, kept: Kept, feeds: Sequence[Arrays]) -> onnx.ModelProto:
    """Every oracle on one plan; ``feeds`` differ in the sizes of the dynamic axes. Returns the small model."""
    small = remove_units(model, typing, kept)
    proto = to_proto(small)
    check_valid(to_proto(model), proto)
    check_interface(to_proto(model), proto)
    check_masked(model, typing, kept, proto, feeds)
    check_cost(model, typing, kept, small, feeds[0])
    check_nothing_leaks(model, typing, kept, proto)
    check_silence(model, typing, kept, feeds[0])
    check_no_selectors(to_proto(model), proto)
    check_node_count(to_proto(model), proto)
    return proto


def check_valid(original: onnx.ModelProto, small: onnx.ModelProto) -> None:
    """The checker, and shape inference that does not forgive (it has faults of its own, as with GroupNormalization)."""
    validity.check_valid(small, None)
    if _is_inferable(original):
        onnx.shape_inference.infer_shapes(small, strict_mode=True)


def _is_inferable(proto: onnx.ModelProto) -> bool:
    try:
        onnx.shape_inference.infer_shapes(proto, strict_mode=True)
    except onnx.shape_inference.InferenceError:
        return False
    return True


def check_interface(original: onnx.ModelProto, small: onnx.ModelProto) -> None:
    """Names, types and shapes of inputs and outputs; dynamic axes keep their symbols."""
    assert _true_inputs(small) == _true_inputs(original)
    assert list(small.graph.output) == list(original.graph.output)


def _true_inputs(proto: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    weights = {tensor.name for tensor in proto.graph.initializer}
    return [value for value in proto.graph.input if value.name not in weights]


def check_masked(model: Model, typing: Typing, kept: Kept, small: onnx.ModelProto, feeds: Sequence[Arrays]) -> None:
    """The small model computes what the original does with the removed units silenced."""
    masked = masked_original(Removal(model, typing=typing, kept=kept))
    for feed in feeds:
        for reference, result in zip(run(masked, feed), run(small, feed), strict=True):
            error = relative_error(reference, result)
            assert error <= TOLERANCE, f"differs from the masked original by {error:.3g}"


def check_cost(model: Model, typing: Typing, kept: Kept, small: Model, feed: Arrays) -> None:
    """The predicted cost is that of the written graph, before and after."""
    sizes = concrete_sizes(model, feed, _ONE_THREAD)
    predicted = UnitCost(model, typing, sizes)
    before = model_cost(model, sizes)
    assert (predicted.macs, predicted.params) == (before.macs, before.params)
    for atom, mask in kept.items():
        predicted.keep(atom, int(mask.sum()))
    after = model_cost(small, concrete_sizes(small, feed, _ONE_THREAD))
    assert (predicted.macs, predicted.params) == (after.macs, after.params)


def check_nothing_leaks(model: Model, typing: Typing, kept: Kept, small: onnx.ModelProto) -> None:
    """NaN in every weight that leaves; what stays is bit for bit what it was without."""
    poisoned = model.copy()
    for name, gone in _removed_entries(model, typing, kept).items():
        values = np.array(read_values(_constant(poisoned, name), model.folder))
        values[gone] = np.nan
        _constant(poisoned, name).values = values
    assert to_proto(remove_units(poisoned, typing, kept)).graph.node == small.graph.node
    left = to_proto(remove_units(poisoned, typing, kept)).graph.initializer
    for tensor, expected in zip(left, small.graph.initializer, strict=True):
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor), onnx.numpy_helper.to_array(expected))


def check_silence(model: Model, typing: Typing, kept: Kept, feed: Arrays) -> None:
    """Other numbers in every weight that leaves do not move the masked original: its units reach nothing else."""
    generator = np.random.default_rng(0)
    disturbed = model.copy()
    for name, gone in _removed_entries(model, typing, kept).items():
        values = np.array(read_values(_constant(disturbed, name), model.folder))
        values[gone] = generator.uniform(0.5, 1.5, values.shape).astype(values.dtype)[gone]
        _constant(disturbed, name).values = values
    calm = run(masked_original(Removal(model, typing=typing, kept=kept)), feed)
    moved = run(masked_original(Removal(disturbed, typing=typing, kept=kept)), feed)
    for reference, result in zip(calm, moved, strict=True):
        assert relative_error(reference, result) <= TOLERANCE, "a removed unit reaches an output"


def check_no_selectors(original: onnx.ModelProto, small: onnx.ModelProto) -> None:
    """Nothing picks the kept units out at run time."""
    before, after = (Counter(node.op_type for node in proto.graph.node) for proto in (original, small))
    assert not {op: after[op] for op in _SELECTORS if after[op] > before[op]}


def check_node_count(original: onnx.ModelProto, small: onnx.ModelProto) -> None:
    """Where nodes were exchanged, ONNX Runtime's own clean-up leaves no more than before.

    But for its way with Transpose: that is moved where the sizes make it seem worthwhile, and may come to stand alone.
    """
    if [node.op_type for node in small.graph.node] == [node.op_type for node in original.graph.node]:
        return
    assert optimised_nodes(small) <= optimised_nodes(original)


def optimised_nodes(proto: onnx.ModelProto) -> int:
    """Number of nodes that ONNX Runtime's basic optimisation leaves."""
    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        without = ["TransposeOptimizer"]
        ort.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"], disabled_optimizers=without)
        return len(onnx.load(options.optimized_model_filepath).graph.node)


def _removed_entries(model: Model, typing: Typing, kept: Kept) -> dict[str, np.ndarray]:
    """Float constant -> True where an entry leaves, whoever reads it."""
    uses: dict[str, list[Axes | None]] = {}
    for node in all_nodes(model.graph):
        for operand, tensor in enumerate(node.inputs):
            if isinstance(tensor, gs.Constant) and np.dtype(tensor.dtype).kind == "f":
                uses.setdefault(tensor.name, []).append(typing.constants.get((node.name, operand)))
    held = {t.name for t in constants(model.graph)} & {t.name for t in model.graph.outputs}
    found: dict[str, np.ndarray] = {}
    for name, readers in uses.items():
        gone = np.full(constant_dims(_constant(model, name)), name not in held)
        for axes in readers:
            stays = np.ones((), dtype=bool)
            for axis in axes or ():
                stays = np.logical_and.outer(stays, algebra.indices_of(axis, kept))
            gone &= ~stays if axes is not None else False
        if gone.any():
            found[name] = gone
    return found


def _constant(model: Model, name: str) -> gs.Constant:
    return next(tensor for tensor in constants(model.graph) if tensor.name == name)


def keep_share(groups: Sequence[Group], removed: float, seed: int = 0) -> dict[Atom, np.ndarray]:
    """Remove a share of every group, at least one unit, and as many stay as must, at random places."""
    generator = np.random.default_rng(seed)
    kept: dict[Atom, np.ndarray] = {}
    for group in groups:
        count = min(group.size - group.least, max(1, round(removed * group.size)))
        kept[group.atom] = np.ones(group.size, dtype=bool)
        kept[group.atom][generator.choice(group.size, count, replace=False)] = False
    return kept


def feeds_for(proto: onnx.ModelProto, sizes: Mapping[str, int], default: int = 2, seed: int = 0) -> Arrays:
    """Inputs whose free dimensions have the given sizes; integers are small enough to be indices."""
    generator = np.random.default_rng(seed)
    known = {tensor.name for tensor in proto.graph.initializer}
    feeds: Arrays = {}
    for value in proto.graph.input:
        if value.name in known:
            continue
        dims = [d.dim_value or sizes.get(d.dim_param, default) for d in value.type.tensor_type.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        is_float = dtype.kind == "f"
        values = generator.standard_normal(dims) if is_float else generator.integers(0, 2, dims)
        feeds[value.name] = np.asarray(values).astype(dtype)
    return feeds
