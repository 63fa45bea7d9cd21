"""Gates of blocks in bodies: a body runs as one with the node that holds it, so an input of the network shuts a block.

With its gate shut a block leaves at its exit what its removal would: its branches give zeros, as in the masked
original, or, where that is not enough, its entry takes the place of its exit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.ir.tensor import LazyValues

from graphprune.analysis.block_entries import SKIP_NORM_BIAS
from graphprune.analysis.blocks import Block
from graphprune.ir.bodies import scopes
from graphprune.ir.free_names import free_name, names_in
from graphprune.ir.model import Model


def gated(model: Model, blocks: Sequence[Block]) -> tuple[Model, dict[str, str]]:
    """A copy of ``model`` with a gate for each of ``blocks``, which lie in bodies; join name -> the gate, a boolean."""
    copy = model.copy()
    copy.dtypes, copy.shapes = dict(model.dtypes), dict(model.shapes)
    homes = {node.name: scope for scope in scopes(copy.graph) for node in scope.nodes}
    gates: dict[str, str] = {}
    for block in blocks:
        gate = gs.Variable(free_name(f"{block.join}/gate", model.derived(names_in)), np.bool_, ())
        copy.graph.inputs.append(gate)
        copy.dtypes[gate.name], copy.shapes[gate.name] = onnx.TensorProto.BOOL, ()
        gates[block.join] = gate.name
        if block.is_exact:
            _gate_branches(copy, homes[block.join], block, gate)
        else:
            _gate_exit(copy, homes[block.join], block, gate)
    copy.graph.toposort()
    return copy, gates


def _gate_branches(model: Model, body: gs.Graph, block: Block, gate: gs.Tensor) -> None:
    nodes = {node.name: node for node in body.nodes}
    join = nodes[block.join]
    places = [(nodes[name], operand) for name, operand in block.branches]
    if block.keeps_join:
        places += [(join, operand) for operand in range(SKIP_NORM_BIAS[join.op], len(join.inputs))]
    for reader, operand in places:
        branch = reader.inputs[operand]
        open_ = gs.Variable(free_name(f"{branch.name}/gated", model.derived(names_in)), branch.dtype)
        kind = onnx.helper.tensor_dtype_to_np_dtype(model.dtypes.get(branch.name, onnx.TensorProto.FLOAT))
        label = f"{open_.name}/zero"
        zero = gs.Constant(label, LazyValues(onnx.numpy_helper.from_array(np.zeros((), kind), label)))
        body.nodes.append(gs.Node("Where", open_.name, inputs=[gate, branch, zero], outputs=[open_]))
        reader.inputs[operand] = open_


def _gate_exit(model: Model, body: gs.Graph, block: Block, gate: gs.Tensor) -> None:
    tensors = body.tensors()
    exit_, entry = tensors[block.exit], tensors[block.entry]
    maker = exit_.inputs[0]
    given = gs.Variable(free_name(f"{block.exit}/given", model.derived(names_in)), exit_.dtype)
    maker.outputs[[tensor is exit_ for tensor in maker.outputs].index(True)] = given
    body.nodes.append(gs.Node("Where", given.name, inputs=[gate, given, entry], outputs=[exit_]))
