"""Take residual blocks out: who read their exit reads their entry."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_graphsurgeon as gs

from graphprune.analysis.block_entries import SKIP_NORM_BIAS
from graphprune.analysis.blocks import Block
from graphprune.errors import GraphpruneError
from graphprune.ir.bodies import all_nodes, scopes
from graphprune.ir.free_names import free_name, names_in
from graphprune.ir.model import Model
from graphprune.rewrite.attributes import set_attributes
from graphprune.rewrite.cache import close
from graphprune.rewrite.weights import new_constant

_SKIP_NORM_EPSILON = 1e-12  # where the node names none
_TWICE_SQUARED = 4  # what twice the entry does to the variance
_SUM = 3  # the output of a SkipLayerNormalization that is the sum itself


def remove_blocks(model: Model, blocks: Sequence[Block]) -> Model:
    """A copy of ``model`` in which the readers of each block's exit read its entry, and nothing is left of the blocks.

    No Identity is put in but for what a body gives, and a Pad only where the entry is narrower than the exit. Where
    the exit is an output of the model, the entry takes over its name. The cache of what is gone goes, too, see
    :mod:`graphprune.rewrite.cache`.

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
    homes = {node.name: scope for scope in scopes(small.graph) for node in scope.nodes}
    tensors = {id(scope): scope.tensors() for scope in scopes(small.graph)}
    nodes = {node.name: node for node in all_nodes(small.graph)}
    order = {name: index for index, name in enumerate(nodes)}
    for block in sorted(blocks, key=lambda block: order[block.join]):
        home = homes[block.join]
        entry, exit_ = (tensors[id(home)][name] for name in (_resolve(stand_in, block.entry), block.exit))
        join = nodes[block.join]
        if block.keeps_join:
            _make_plain_norm(small, join, entry)
        if block.pads:
            _widen(small, home, exit_, entry, block.pads)
        elif not block.keeps_join or block.exit != join.outputs[0].name:
            if home is not small.graph and _is_in(exit_, home.outputs) and not _is_own(home, entry):
                _copy(small, home, exit_, entry)
            else:
                _redirect(home, exit_, entry)
        if block.keeps_join:
            join.outputs = join.outputs[:1]
    close(small, model, blocks, [name for block in blocks for name in block.nodes])
    _join_norms(small, {block.join for block in blocks if block.keeps_join})
    return small


def _make_plain_norm(model: Model, join: gs.Node, entry: gs.Tensor) -> None:
    """Let a norm of a sum be the norm of ``entry`` alone: of twice the entry with four times the epsilon it is that.

    ONNX knows the plain norm from operator set 17 or 23 on only, and some runtimes by another name.
    """
    epsilon = float(join.attrs.get("epsilon", _SKIP_NORM_EPSILON))
    join.inputs = [entry, entry, *join.inputs[2 : SKIP_NORM_BIAS[join.op]]]
    set_attributes(model, join, {"epsilon": _TWICE_SQUARED * epsilon})


def _join_norms(model: Model, names: set[str]) -> None:
    """Let the norm of a sum that only the block now gone read be the norm behind that block: one node for two."""
    found = [(scope, node) for scope in scopes(model.graph) for node in scope.nodes if node.name in names]
    changes = [_join_norm(model, scope, node) for scope, node in found]
    if any(changes):
        model.graph.cleanup().toposort()


def _join_norm(model: Model, graph: gs.Graph, norm: gs.Node) -> bool:
    """Put ``norm``, of one tensor alone, into the node that adds it up; whether that could be."""
    total = norm.inputs[0]
    if norm.inputs[1] is not total or not total.inputs:
        return False
    first = total.inputs[0]
    if first.op != norm.op or len(first.outputs) <= _SUM or first.outputs[_SUM] is not total:
        return False
    bias = SKIP_NORM_BIAS[first.op]
    is_biased = len(first.inputs) > bias and not first.inputs[bias].is_empty()
    is_read = any(each.outputs or _is_in(each, graph.outputs) for each in first.outputs[:_SUM] if not each.is_empty())
    if is_biased or is_read or not any(node is first for node in graph.nodes):
        return False
    first.inputs = [*first.inputs[:2], *norm.inputs[2:]]
    result = norm.outputs[0]
    norm.outputs, norm.inputs = [], []
    first.outputs = [result, *first.outputs[1:]]
    graph.nodes.remove(norm)
    set_attributes(model, first, {"epsilon": float(norm.attrs["epsilon"]) / _TWICE_SQUARED})
    return True


def _is_own(body: gs.Graph, tensor: gs.Tensor) -> bool:
    """Whether a node of the body makes ``tensor``, and the body does not give it by that name."""
    made = any(_is_in(tensor, node.outputs) for node in body.nodes)
    return made and not _is_in(tensor, body.outputs)


def _is_in(tensor: gs.Tensor, tensors: Sequence[gs.Tensor]) -> bool:
    return any(each is tensor for each in tensors)


def _copy(model: Model, body: gs.Graph, exit_: gs.Tensor, entry: gs.Tensor) -> None:
    """Let ``exit_``, which a body gives, be a copy of ``entry``, which it may be given."""
    exit_.inputs.clear()
    label = free_name(f"{exit_.name}/copy", model.derived(names_in))
    body.nodes.append(gs.Node("Identity", label, inputs=[entry], outputs=[exit_]))


def _widen(model: Model, graph: gs.Graph, exit_: gs.Tensor, entry: gs.Tensor, pads: Sequence[int]) -> None:
    """Let ``exit_`` be ``entry`` with zeros behind it."""
    label = free_name(f"{exit_.name}/widened", model.derived(names_in))
    sizes = new_constant(free_name(f"{label}/pads", model.derived(names_in)), np.array(pads, dtype=np.int64))
    exit_.inputs.clear()
    graph.nodes.append(gs.Node("Pad", label, inputs=[entry, sizes], outputs=[exit_]))


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
    if _is_in(old, graph.outputs):
        _take_over_output(graph, old, new)


def _take_over_output(graph: gs.Graph, old: gs.Tensor, new: gs.Tensor) -> None:
    """Make the producer of ``new`` produce the graph output ``old`` instead."""
    if _is_in(new, (*graph.inputs, *graph.outputs)):
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
