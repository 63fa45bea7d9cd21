"""Weights that several layers use in the same way: a head read by every level, the towers of a siamese network.

Each use of a constant is typed on its own, for exporters share what is merely equal, such as biases of zeros.
Matrices and kernels are not equal by chance: where layers of one kind read one, their groups are one group,
or a cut would need a copy for each of them.
"""

from __future__ import annotations

from collections import defaultdict

import onnx_graphsurgeon as gs

from graphprune.axes import algebra
from graphprune.axes.typing import Typing
from graphprune.ir.bodies import all_nodes
from graphprune.ir.model import Model

_WEIGHTS = {
    "Conv": (1,),
    "FusedConv": (1,),
    "ConvTranspose": (1,),
    "Gemm": (0, 1),
    "MatMul": (0, 1),
    "FusedMatMul": (0, 1),
    "Einsum": (0, 1, 2),
    "Gather": (0,),
    "LSTM": (1, 2),
    "GRU": (1, 2),
    "RNN": (1, 2),
    "DequantizeLinear": (0,),
    "QuantizeLinear": (0,),
}
_ROLES = ("group", "transA", "transB", "equation", "axis", "direction", "layout")
"""Attributes that change what the axes of the weights mean."""
_LEAST_RANK = 2


def tie_shared(model: Model, typing: Typing) -> None:
    """Make the axes of such weights one axis, where all that use it could shrink; a frozen use costs a copy."""
    uses: dict[tuple[object, ...], list[tuple[str, int]]] = defaultdict(list)
    for node in all_nodes(model.graph):
        for operand in _WEIGHTS.get(node.op, ()):
            axes = typing.constants.get((node.name, operand))
            if axes is not None and len(axes) >= _LEAST_RANK:
                uses[_role(node, operand)].append((node.name, operand))
    for alike in uses.values():
        first: list[algebra.Axis | None] = []
        for name, operand in alike if len(alike) > 1 else ():
            axes = typing.constants[name, operand]
            first = first or [None] * len(axes)
            for index, axis in enumerate(axes):
                known = first[index]
                if known is None or algebra.is_frozen(known):
                    first[index] = axis
                elif not algebra.is_frozen(axis):
                    algebra.unify(known, axis, name)


def _role(node: gs.Node, operand: int) -> tuple[object, ...]:
    attributes = tuple(str(node.attrs.get(name)) for name in _ROLES)
    return node.inputs[operand].name, node.op, node.domain, operand, attributes
