"""The oracle of every rewrite: the original model with what is to be removed silenced where it is consumed.

Removing a unit is, by definition, the same as silencing it where it is consumed:
a block's branch is multiplied by zero at its join, a filter, neuron or head is multiplied by zero where a layer sums
over it, an expert's score is the lowest number there is where the router chooses. What a linear map adds in place of a
branch is added beside the silent branch. Built from the exported protobuf, by other code than the rewrite.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import onnx
from numpy.typing import NDArray

from graphprune.analysis.block_entries import SKIP_NORM_BIAS
from graphprune.analysis.blocks import Block
from graphprune.axes import algebra
from graphprune.axes.algebra import Kept
from graphprune.axes.typing import Typing
from graphprune.errors import ValidationFailed
from graphprune.ir.bodies import all_nodes, graphs_of
from graphprune.ir.export import to_proto
from graphprune.ir.free_names import free_name, tensor_names
from graphprune.ir.model import Model
from graphprune.rewrite.removal import Removal
from graphprune.validation.mapped_branches import put_maps

_DIGITS: dict[int, int] = {  # of two, that a number keeps
    onnx.TensorProto.FLOAT16: 11,
    onnx.TensorProto.BFLOAT16: 8,
    onnx.TensorProto.DOUBLE: 53,
}
_LOWEST: dict[int, float] = {onnx.TensorProto.FLOAT16: -6e4}  # finite: what is subtracted from it is a number


def masked_original(removal: Removal, outputs: Sequence[str] = (), *, is_rounded: bool = False) -> onnx.ModelProto:
    """The model of ``removal`` with everything it takes out silenced;
    ``outputs`` are inner tensors that it gives, too.

    ``is_rounded`` moves what units are left, where they are summed over, by as much as the rounding of that sum may:
    a sum over fewer numbers rounds otherwise.
    """
    proto = to_proto(removal.model, outputs)
    taken = tensor_names(proto.graph)
    _silence_blocks(proto, removal.model, removal.blocks, taken)
    mute = partial(_mute, proto, removal.model, taken)
    put_maps(proto, removal.maps, taken, mute, _rounding if is_rounded else None)
    if removal.typing is not None:
        _silence_units(proto, removal.model, removal.typing, removal.kept, taken, is_rounded)
    for graph in graphs_of(proto.graph):
        _sort_nodes(graph)
    return proto


def _silence_blocks(proto: onnx.ModelProto, model: Model, blocks: Sequence[Block], taken: set[str]) -> None:
    """Multiply the branches of every block by zero.

    Where a norm follows the join, or the join is a mean, a silent branch does not yet pass the entry on; there the
    whole layer's output is multiplied by zero and the entry added.
    """
    homes = {node.name: (node, graph) for graph in graphs_of(proto.graph) for node in graph.node}
    nodes = {name: node for name, (node, _) in homes.items()}
    producers = {name: node for node in nodes.values() for name in node.output}

    mute = partial(_mute, proto, model, taken)
    for block in blocks:
        join, graph = homes[block.join]
        for reader, operand in block.branches if block.is_exact else ():
            branch = nodes[reader].input[operand]
            nodes[reader].input[operand] = free_name(f"{branch}/silent", taken)
            mute(graph, branch, nodes[reader].input[operand], branch)
        if block.keeps_join:
            del join.input[SKIP_NORM_BIAS[join.op_type] :]  # belongs to the branch
        if not block.is_exact:
            producer = producers[block.exit]
            loud, silent = (free_name(f"{block.exit}/{how}", taken) for how in ("loud", "silent"))
            producer.output[list(producer.output).index(block.exit)] = loud
            mute(graph, loud, silent, block.exit)
            graph.node.append(onnx.helper.make_node("Add", [silent, block.entry], [block.exit]))


def _mute(
    proto: onnx.ModelProto, model: Model, taken: set[str], graph: onnx.GraphProto, loud: str, silent: str, tensor: str
) -> None:
    """Let a node of ``graph`` make ``silent``: the tensor ``loud``, which has the type of ``tensor``, times zero."""
    dtype = model.dtypes.get(tensor, onnx.TensorProto.FLOAT)
    zero = onnx.helper.make_tensor(free_name(f"{tensor}/zero", taken), dtype, [], [0.0])
    proto.graph.initializer.append(zero)
    graph.node.append(onnx.helper.make_node("Mul", [loud, zero.name], [silent]))


def _silence_units(
    proto: onnx.ModelProto, model: Model, typing: Typing, kept: Kept, taken: set[str], is_rounded: bool
) -> None:
    """Multiply by zero, at every node that sums over it, what is not kept; where a node chooses, let it lose."""
    found = {node.name: (node, graph) for graph in graphs_of(proto.graph) for node in graph.node}
    readers = {node.name: node for node in all_nodes(model.graph)}
    for place in typing.contractions:
        axes = typing.of(readers[place.node], place.operand)
        if axes is None or not any(atom in kept for atom in algebra.atoms_of(axes[place.axis])):
            continue
        keep = algebra.indices_of(axes[place.axis], kept)
        node, graph = found[place.node]
        name = free_name(f"{place.node}/keep{place.operand}.{place.axis}", taken)
        silent = free_name(f"{name}/silent", taken)
        source = node.input[place.operand]
        dtype = model.dtypes.get(readers[place.node].inputs[place.operand].name, onnx.TensorProto.FLOAT)
        shape = [len(keep) if axis == place.axis else 1 for axis in range(len(axes))]
        node.input[place.operand] = silent
        if place.is_choice:
            lowest = free_name(f"{name}/lowest", taken)
            proto.graph.initializer.append(onnx.numpy_helper.from_array(keep.reshape(shape), name))
            proto.graph.initializer.append(onnx.helper.make_tensor(lowest, dtype, [], [_LOWEST.get(dtype, -3e38)]))
            graph.node.append(onnx.helper.make_node("Where", [name, source, lowest], [silent]))
            continue
        factors = keep * _rounding(len(keep), dtype) if is_rounded else keep
        values = factors.astype(onnx.helper.tensor_dtype_to_np_dtype(dtype)).reshape(shape)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
        graph.node.append(onnx.helper.make_node("Mul", [source, name], [silent]))


def _rounding(count: int, dtype: int) -> NDArray[np.float64]:
    """Factors (count,) a little off 1. Rounding leaves a sum of n numbers about ``sqrt(n) u`` of their sizes off, where
    u is half a unit in the last place (Higham and Mary, "A New Approach to Probabilistic Rounding Error Analysis").
    """
    signs = np.random.default_rng(count).choice([-1.0, 1.0], count)
    factors: NDArray[np.float64] = 1 + signs * 2.0 ** -_DIGITS.get(dtype, 24) * np.sqrt(count)
    return factors


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
