"""The network as a row of parts: residual blocks, removable or not, and between them layer by layer.

A part of the original is found again in the smaller network by the names of its nodes:
rewriting removes nodes and renames none, so what is left of the parts, in their order, is the smaller network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import onnx_graphsurgeon as gs

from graphprune.analysis.dataflow import DataFlow, is_weighted
from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.analysis.names import layer_label
from graphprune.analysis.refusals import Refusal
from graphprune.ir.quantised import weight_dims
from graphprune.segments.cuts import at_blocks

_MOST_PARTS = 160
_MOST_LAYERS = 8  # what is refused around more of them is no block but half the network
_NO_BLOCK = {"contains-blocks", "arithmetic"}


@dataclass(frozen=True)
class ModelPart:
    """Nodes that run one after another; ``join`` is that of a removable block, ``refusal`` why another one stays."""

    name: str
    nodes: tuple[str, ...]
    join: str = ""
    refusal: Refusal | None = None


def model_parts(analysis: ModelAnalysis) -> list[ModelPart]:
    """All nodes of the model, none twice, so that no part needs what a later one computes."""
    flow = analysis.flow
    blocks = [join.block for join in analysis.joins if join.block]
    refused = _refused(flow, analysis)
    for is_fine in (True, False):
        found: list[ModelPart] = []
        for part in at_blocks(flow, blocks):
            if part.block is not None:
                found.append(ModelPart(part.block.name, part.nodes, part.block.join))
            else:
                found += _between(flow, part.nodes, refused, is_fine)
        found = _joined(flow, found)
        if len(found) <= _MOST_PARTS:
            break
    return found


def _refused(flow: DataFlow, analysis: ModelAnalysis) -> dict[str, tuple[str, Refusal]]:
    """Node -> the join and the refusal of the block it belongs to, for blocks that cannot go."""
    owner: dict[str, tuple[str, Refusal]] = {}
    for join in analysis.joins:
        if join.refusal is None or join.stage < 0 or join.refusal.rule in _NO_BLOCK:
            continue
        sides = [flow.ancestors(tensor.name) for tensor in flow.nodes[join.node].inputs]
        members = sides[0] ^ sides[1]
        if sum(is_weighted(flow.nodes[name]) for name in members) <= _MOST_LAYERS:
            for name in (*members, join.node):
                owner.setdefault(name, (join.node, join.refusal))
    return owner


def _between(
    flow: DataFlow, nodes: Sequence[str], refused: Mapping[str, tuple[str, Refusal]], is_fine: bool
) -> Iterator[ModelPart]:
    """What lies between two removable blocks: refused blocks, and the rest layer by layer if ``is_fine``."""
    for owner, members in groupby(nodes, key=refused.get):
        run = list(members)
        if owner is not None:
            yield ModelPart(_label(flow, run), tuple(run), refusal=owner[1])
            continue
        starts = [i for i, name in enumerate(run) if has_weights(flow.nodes[name])] if is_fine else []
        for start, end in zip([0, *starts[1:]], [*starts[1:], len(run)], strict=True):
            yield ModelPart(_label(flow, run[start:end]), tuple(run[start:end]))


def _joined(flow: DataFlow, found: Sequence[ModelPart]) -> list[ModelPart]:
    """Parts without a layer (an activation, a pooling) go with the one before, at the start with the one after."""
    joined: list[ModelPart] = []
    waiting: tuple[str, ...] = ()
    for each in found:
        if each.join or any(is_weighted(flow.nodes[name]) for name in each.nodes):
            joined.append(ModelPart(each.name, (*waiting, *each.nodes), each.join, each.refusal))
            waiting = ()
        elif joined:
            last = joined.pop()
            joined.append(ModelPart(last.name, (*last.nodes, *each.nodes), last.join, last.refusal))
        else:
            waiting += each.nodes
    return joined or [ModelPart("model", waiting)]


def _label(flow: DataFlow, nodes: Sequence[str]) -> str:
    layers = [name for name in nodes if has_weights(flow.nodes[name])]
    return layer_label(flow, layers) if layers else nodes[0]


def has_weights(node: gs.Node) -> bool:
    """Whether a node is a layer whose weights are its own, unlike the products of attention."""
    return is_weighted(node) and any(len(weight_dims(node, operand) or ()) > 1 for operand in range(len(node.inputs)))


def channels(node: gs.Node, sizes: Mapping[str, tuple[int, ...]]) -> int:
    """How many channels a layer writes."""
    size = sizes[node.outputs[0].name]
    return size[1 if node.op in ("Conv", "ConvTranspose") else -1]
