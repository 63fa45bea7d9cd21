"""Why a join cannot be removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from graphprune.analysis.dataflow import DataFlow, is_weighted

_ARITHMETIC = {
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Pow",
    "Sqrt",
    "Tanh",
    "Erf",
    "Sigmoid",
    "Exp",
    "Neg",
    "Relu",
    "Cast",
    "Log",
    "Abs",
}
_ATTENTION = {"Attention", "MultiHeadAttention", "GroupQueryAttention", "DecoderMaskedMultiHeadAttention"}
_PRODUCTS = {"MatMul", "Einsum", "FusedMatMul"}
_PROJECTION_MAX_NODES = 16
_RESHAPES_SHORTCUT = {"Slice", "Pad", "AveragePool", "MaxPool"}


@dataclass(frozen=True)
class Refusal:
    """Why a join cannot be removed: the rule's name and a sentence with the nodes concerned."""

    rule: str
    reason: str


def leak(flow: DataFlow, path: set[str], interior: set[str], join: str) -> Refusal | None:
    """The first tensor of the branch that something outside the block reads.

    A norm, or whatever has no weights to multiply by, may serve other branches as well: there it stays.
    """
    shared = path - interior
    if _layer_count(flow, interior) and not _layer_count(flow, shared):
        return None
    for name in sorted(path - interior, key=flow.order.__getitem__):
        for tensor in flow.nodes[name].outputs:
            if tensor.name in flow.outputs - {cached.present for cached in flow.cache}:
                return Refusal("graph-output", f"{tensor.name}, inside the block of {join}, is an output of the model")
            inside = path | interior | {join}
            outside = [reader for reader in flow.readers.get(tensor.name, ()) if reader not in inside]
            if outside:
                return Refusal("side-reader", f"{outside[0]} reads {tensor.name} from inside the block of {join}")
    return None


def second_entry(
    flow: DataFlow, path: set[str], interior: set[str], after_source: set[str], join: str
) -> Refusal | None:
    """A layer of the branch that does not come from its entry, unless attention looks at what it makes."""
    foreign = [name for name in interior - path if is_weighted(flow.nodes[name]) and name not in after_source]
    strangers = [name for name in foreign if not _is_looked_at(flow, name, path, interior)]
    if not strangers:
        return None
    first = min(strangers, key=flow.order.__getitem__)
    return Refusal("second-entry", f"the branch of {join} also holds {first}, which does not come from its entry")


def _is_looked_at(flow: DataFlow, layer: str, path: set[str], interior: set[str]) -> bool:
    """Whether a layer projects the states of an encoder: it reads them from outside the block,
    and only attention of the block reads what it makes.
    """
    before = set().union(*(flow.ancestors(tensor) for tensor in flow.data_reads(layer)))
    if any(name in interior and is_weighted(flow.nodes[name]) for name in before):
        return False
    stack, seen = [layer], {layer}
    while stack:
        for reader in (r for tensor in flow.nodes[stack.pop()].outputs for r in flow.readers.get(tensor.name, ())):
            if reader in path:
                if not _is_attention(flow, reader):
                    return False
            elif reader not in seen:
                if is_weighted(flow.nodes[reader]):
                    return False
                seen.add(reader)
                stack.append(reader)
    return True


def _is_attention(flow: DataFlow, node: str) -> bool:
    """Whether a node multiplies data by data."""
    return flow.nodes[node].op in _ATTENTION or (
        flow.nodes[node].op in _PRODUCTS and len(set(flow.data_reads(node))) > 1
    )


def no_shortcut(flow: DataFlow, node: gs.Node, operands: Sequence[int]) -> Refusal:
    """Tell a projection shortcut from a plain merge of paths."""
    sides = [flow.ancestors(node.inputs[operand].name) for operand in operands]
    common = set.intersection(*sides)
    short = min((side - common for side in sides), key=lambda side: (_layer_count(flow, side), len(side)))
    forks = [name for name in common if all(_feeds(flow, name, side - common) for side in sides)]
    if not forks or not short or _layer_count(flow, short) > 1 or len(short) > _PROJECTION_MAX_NODES:
        return Refusal("no-shortcut", f"{node.name} adds two different paths; neither is the input of the other")
    ordered = sorted(short, key=flow.order.__getitem__)
    layers = [name for name in ordered if is_weighted(flow.nodes[name])]
    if layers:
        return Refusal("projection-shortcut", f"the shortcut of {node.name} goes through {layers[0]}")
    ops = dict.fromkeys(flow.nodes[name].op for name in ordered if flow.nodes[name].op in _RESHAPES_SHORTCUT)
    if not ops:
        return Refusal("no-shortcut", f"{node.name} adds two different paths; neither is the input of the other")
    return Refusal("residual-shape", f"the shortcut of {node.name} changes the shape ({' and '.join(ops)})")


def _layer_count(flow: DataFlow, nodes: set[str]) -> int:
    return sum(is_weighted(flow.nodes[name]) for name in nodes)


def _feeds(flow: DataFlow, node: str, readers: set[str]) -> bool:
    return any(reader in readers for tensor in flow.nodes[node].outputs for reader in flow.readers.get(tensor.name, ()))


def is_scalar_arithmetic(node: gs.Node) -> bool:
    """Whether a node computes with single numbers, as activation functions do."""
    scalars = all(t._values.shape in ((), (1,), []) for t in node.inputs if isinstance(t, gs.Constant))
    return node.op in _ARITHMETIC and scalars
