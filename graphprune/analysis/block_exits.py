"""What follows a residual join and goes with the block.

ResNet v1 ends a block with ``Relu(x + f(x))``: when ``x`` is known to be non-negative, the Relu does nothing to ``x``
and goes too. A post-norm transformer ends it with ``Norm(x + f(x))``, where ``x`` itself comes out of such a norm: the
whole layer, norm included, is bypassed. In a pre-norm transformer whose joins are fused with the norms that follow
(SkipLayerNormalization), such a join stays as the norm of what is left.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_graphsurgeon as gs

from graphprune.analysis.block_entries import SKIP_NORM_BIAS, has_total, total_of
from graphprune.analysis.dataflow import DataFlow

_NORMS = {
    "LayerNormalization",
    "RMSNormalization",
    "SimplifiedLayerNormalization",
    "GroupNormalization",
    "InstanceNormalization",
}
_FUSED_NORMS = {*SKIP_NORM_BIAS, "EmbedLayerNormalization"}
# The operators an exporter without a norm operator writes instead of one.
_NORM_PARTS = {"ReduceMean", "Sub", "Pow", "Mul", "Add", "Sqrt", "Div", "Reciprocal", "Cast"}
_NON_NEGATIVE = {"Relu", "Sigmoid", "Softmax", "Exp", "Abs", "Sqrt"}
_KEEPS_SIGN = {
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Reshape",
    "Flatten",
    "Transpose",
    "Squeeze",
    "Unsqueeze",
    "Slice",
    "Concat",
}


@dataclass(frozen=True)
class Tail:
    """Nodes after the join that leave with the block; ``exit`` is the tensor that the block's entry replaces.

    ``is_exact`` tells that silencing the branch leaves exactly the entry at the exit (Relu), so that the plain masked
    oracle applies; after a norm, or a mean, it does not. ``keeps_join`` tells that the join itself stays.
    """

    exit: str
    nodes: tuple[str, ...] = ()
    is_exact: bool = True
    keeps_join: bool = False


def find_tail(flow: DataFlow, join: str, entry: str) -> Tail:
    """The longest tail of the node ``join`` whose removal is sound for a block that starts at ``entry``."""
    node = flow.nodes[join]
    output = node.outputs[0].name
    if node.op in SKIP_NORM_BIAS:
        is_last = not has_total(flow, node) and _is_norm_output(flow, entry)
        return Tail(exit=total_of(flow, node), is_exact=not is_last, keeps_join=not is_last)
    none = Tail(exit=output, is_exact=node.op != "Mean")
    if output in flow.outputs:
        return none
    readers = flow.readers.get(output, [])
    if node.op == "Mean":  # silent branches leave a part of the entry
        return none
    if len(readers) == 1 and _is_idempotent(flow, readers[0], entry):
        return Tail(exit=flow.nodes[readers[0]].outputs[0].name, nodes=(readers[0],))
    if not _is_norm_output(flow, entry):
        return none
    if len(readers) == 1 and flow.nodes[readers[0]].op in _NORMS:
        return Tail(exit=flow.nodes[readers[0]].outputs[0].name, nodes=(readers[0],), is_exact=False)
    return _decomposed_norm(flow, join) or none


def _is_idempotent(flow: DataFlow, activation: str, entry: str) -> bool:
    node = flow.nodes[activation]
    if node.op == "Relu":
        return _is_non_negative(flow, entry)
    if node.op == "Clip":
        producer = flow.maker(entry)
        if producer is None or producer.op != "Clip" or not (_is_fixed(producer) and _is_fixed(node)):
            return False
        return _bounds(producer) == _bounds(node)
    return False


def _is_non_negative(flow: DataFlow, tensor: str) -> bool:
    producer = flow.maker(tensor)
    if producer is None:
        return False
    if producer.op in _NON_NEGATIVE:
        return True
    if producer.op == "Clip":
        low = _bounds(producer)[0]
        return low is not None and low >= 0
    return producer.op in _KEEPS_SIGN and all(
        _is_non_negative(flow, name)
        for name in flow.data_reads(producer.name)[: None if producer.op == "Concat" else 1]
    )


def _is_fixed(clip: gs.Node) -> bool:
    """Whether every bound that is given is a constant."""
    return all(isinstance(tensor, gs.Constant) or not tensor.name for tensor in clip.inputs[1:])


def _bounds(clip: gs.Node) -> tuple[float | None, float | None]:
    bounds: list[float | None] = [None, None]
    for index in (0, 1):
        if len(clip.inputs) > index + 1 and isinstance(clip.inputs[index + 1], gs.Constant):
            bounds[index] = float(clip.inputs[index + 1].values)
    return bounds[0], bounds[1]


def _is_norm_output(flow: DataFlow, tensor: str) -> bool:
    """Whether ``tensor`` leaves a norm: one operator, or a run of norm parts that holds a mean."""
    producer = flow.maker(tensor)
    if producer is None:
        return False
    if producer.op in _NORMS | _FUSED_NORMS:
        return bool(producer.outputs[0].name == tensor)
    stack, seen = [producer.name], {producer.name}
    while stack:
        node = flow.nodes[stack.pop()]
        if node.op == "ReduceMean":
            return True
        if node.op not in _NORM_PARTS or len(seen) > 12:
            continue
        if node.op == "Add" and len(flow.data_reads(node.name)) == 2:
            continue  # the join before the norm
        for name in flow.data_reads(node.name):
            before = flow.producer.get(name)
            if before is not None and before not in seen:
                seen.add(before)
                stack.append(before)
    return False


def _decomposed_norm(flow: DataFlow, join: str) -> Tail | None:
    """Follow post-dominators from the join while everything in between is part of a norm."""
    region: set[str] = set()
    last, current = join, flow.post_dominator(join)
    # a mean that all has to go through is no norm's, which keeps what it takes the mean of: it pools what follows
    while current is not None and flow.nodes[current].op in _NORM_PARTS - {"ReduceMean"}:
        between = _between(flow, last, current)
        if any(flow.nodes[name].op not in _NORM_PARTS for name in between):
            break
        region |= between | {current}
        last, current = current, flow.post_dominator(current)
    has_mean = any(flow.nodes[name].op == "ReduceMean" for name in region)
    exit_tensor = flow.nodes[last].outputs[0].name
    if not has_mean or exit_tensor in flow.outputs:
        return None
    return Tail(exit=exit_tensor, nodes=tuple(sorted(region, key=flow.order.__getitem__)), is_exact=False)


def _between(flow: DataFlow, first: str, last: str) -> set[str]:
    """The nodes strictly between a node and its post-dominator."""
    found: set[str] = set()
    stack = [reader for tensor in flow.nodes[first].outputs for reader in flow.readers.get(tensor.name, ())]
    while stack:
        name = stack.pop()
        if name == last or name in found:
            continue
        found.add(name)
        stack.extend(reader for tensor in flow.nodes[name].outputs for reader in flow.readers.get(tensor.name, ()))
    return found
