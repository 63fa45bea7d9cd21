"""Layers of a transformer: an attention sub-layer and the MLP behind it, where these are blocks of their own."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_graphsurgeon as gs

from graphprune.analysis.blocks import Block, Join
from graphprune.ir.bodies import all_nodes
from graphprune.ir.model import Model

Layer = tuple[Block, ...]
"""Blocks of one stage, one right behind the other."""


def find_layers(model: Model, joins: Sequence[Join]) -> list[Layer]:
    """The removable blocks of ``joins`` by layer, in execution order.

    A layer begins with an attention, or with a block that no attention stands before.
    """
    nodes: dict[str, gs.Node] = {node.name: node for node in all_nodes(model.graph)}
    layers: list[Layer] = []
    stages: list[int] = []
    can_go_on = False
    for join in joins:
        if join.block is None:
            continue
        attends = any(is_attending(nodes[name]) for name in join.block.nodes)
        if can_go_on and not attends and stages[-1] == join.stage:
            layers[-1] += (join.block,)
            can_go_on = False
        else:
            layers.append((join.block,))
            stages.append(join.stage)
            can_go_on = attends
    return layers


def is_attending(node: gs.Node) -> bool:
    """Whether a node is part of an attention and of nothing else."""
    return node.op == "Softmax" or "Attention" in node.op
