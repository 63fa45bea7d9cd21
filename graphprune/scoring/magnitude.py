"""Magnitude of units: the norm of every weight that leaves with them.

Li et al., "Pruning Filters for Efficient ConvNets" (ICLR 2017) rank a filter by its own weights;
here the norm runs over the whole dependency group, as in Fang et al., "DepGraph" (CVPR 2023),
or over the layers that write it only.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from graphprune.analysis.groups import Group
from graphprune.analysis.roles import weight_axes
from graphprune.axes import algebra
from graphprune.axes.typing import Typing
from graphprune.importance.magnitude import Order, combine, slice_norms
from graphprune.ir.bodies import all_nodes
from graphprune.ir.model import Model
from graphprune.ir.quantised import weight_values

Over = Literal["group", "writers"]


def magnitudes(model: Model, typing: Typing, group: Group, order: Order, over: Over) -> NDArray[np.float64]:
    """L1 or L2 norm (size,) of every unit over the weights of layers that hold it, in the unit of the weights."""
    nodes = {node.name: node for node in all_nodes(model.graph)}
    layers = {
        (*place.constant, place.axis)
        for name in (*group.writers, *group.readers)
        for place in weight_axes(nodes[name])
        if place.is_output or over == "group"
    }
    parts: list[NDArray[np.float64]] = []
    for use in group.uses:
        if (use.node, use.operand, use.axis) not in layers:
            continue
        values = weight_values(nodes[use.node], use.operand, model.folder)
        norms = slice_norms(values, use.axis, order)
        positions = algebra.positions_of(typing.constants[use.node, use.operand][use.axis], group.atom)
        mine = positions >= 0
        parts.append(np.bincount(positions[mine], norms[mine], minlength=group.size).astype(np.float64))
    return combine(parts, order)
