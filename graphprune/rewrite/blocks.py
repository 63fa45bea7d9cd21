"""Take residual blocks out: who read their exit reads their entry."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_graphsurgeon as gs

from graphprune.analysis.block_entries import SKIP_NORM_BIAS
from graphprune.analysis.blocks import Block
from graphprune.decoder.interface import decoder_interface
from graphprune.errors import GraphpruneError
from graphprune.ir.free_names import free_name, names_in
from graphprune.ir.model import Model
from graphprune.rewrite.attributes import set_attributes
from graphprune.rewrite.cache import cache_of, count_anew, new_names, shut
from graphprune.rewrite.weights import new_constant

_SKIP_NORM_EPSILON = 1e-12  # where the node names none


def remove_blocks(model: Model, blocks: Sequence[Block]) -> Model:
    """A copy of ``model`` in which the readers of each block's exit read its entry, and nothing is left of the blocks.

    No Identity is put in, and a Pad only where the entry is narrower than the exit. Where the exit is an output of the
    model, the entry takes over its name. The cache of what is gone goes, too, see :mod:`graphprune.rewrite.cache`.

    Raises
    ------
    PlanError
        No layer would be left that has a cache, where there were some.
    """
    small = model.copy()
    small.node_protos = dict(model.node_protos)
    stand_in: dict[str, str] = {}  # exit of a removed block -> its entry
    for block in blocks:
        if not block.pads:
            stand_in[block.exit] = block.entry
    tensors = small.graph.tensors()
    nodes = {node.name: node for node in small.graph.nodes}
    order = {name: index for index, name in enumerate(nodes)}
    for block in sorted(blocks, key=lambda block: order[block.join]):
        entry = tensors[_resolve(stand_in, block.entry)]
        join = nodes[block.join]
        if block.keeps_join:
            _make_plain_norm(small, join, entry)
        if block.pads:
            _widen(small, tensors[block.exit], entry, block.pads)
        elif not block.keeps_join or block.exit != join.outputs[0].name:
            _redirect(small.graph, tensors[block.exit], entry)
        if block.keeps_join:
            join.outputs = join.outputs[:1]
    gone = cache_of(blocks)
    if gone:
        shut(small, decoder_interface(model), gone)
    small.graph.cleanup().toposort()
    if gone:
        count_anew(small, gone, new_names(model, gone))
    left = {name for block in blocks for name in block.nodes} & {node.name for node in small.graph.nodes}
    if left:
        raise GraphpruneError(f"removing {len(blocks)} blocks left {sorted(left)[0]} behind", "please report this")
    return small


def _make_plain_norm(model: Model, join: gs.Node, entry: gs.Tensor) -> None:
    """Let a norm of a sum be the norm of ``entry`` alone: of twice the entry with four times the epsilon it is that.

    ONNX knows the plain norm from operator set 17 or 23 on only, and some runtimes by another name.
    """
    epsilon = float(join.attrs.get("epsilon", _SKIP_NORM_EPSILON))
    join.inputs = [entry, entry, *join.inputs[2 : SKIP_NORM_BIAS[join.op]]]
    set_attributes(model, join, {"epsilon": 4 * epsilon})


def _widen(model: Model, exit_: gs.Tensor, entry: gs.Tensor, pads: Sequence[int]) -> None:
    """Let ``exit_`` be ``entry`` with zeros behind it."""
    label = free_name(f"{exit_.name}/widened", model.derived(names_in))
    sizes = new_constant(free_name(f"{label}/pads", model.derived(names_in)), np.array(pads, dtype=np.int64))
    exit_.inputs.clear()
    model.graph.nodes.append(gs.Node("Pad", label, inputs=[entry, sizes], outputs=[exit_]))


def _resolve(stand_in: dict[str, str], tensor: str) -> str:
    while tensor in stand_in:
        tensor = stand_in[tensor]
    return tensor


def _redirect(graph: gs.Graph, old: gs.Tensor, new: gs.Tensor) -> None:
    """Let everybody who reads ``old`` read ``new``."""
    for reader in list(old.outputs):
        for index, tensor in enumerate(reader.inputs):
            if tensor is old:
                reader.inputs[index] = new
    if any(tensor is old for tensor in graph.outputs):
        _take_over_output(graph, old, new)


def _take_over_output(graph: gs.Graph, old: gs.Tensor, new: gs.Tensor) -> None:
    """Make the producer of ``new`` produce the graph output ``old`` instead."""
    if any(tensor is new for tensor in (*graph.inputs, *graph.outputs)):
        raise GraphpruneError(
            f"output {old.name} would become a copy of {new.name}", "keep one block before the output"
        )
    producer = new.inputs[0]
    old.inputs.clear()
    producer.outputs[[tensor is new for tensor in producer.outputs].index(True)] = old
    for reader in list(new.outputs):
        for index, tensor in enumerate(reader.inputs):
            if tensor is new:
                reader.inputs[index] = old
