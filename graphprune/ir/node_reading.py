"""What a node says of itself: its attributes, and which of its inputs are there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx_graphsurgeon as gs

from graphprune.ir.model import constant_dims


@dataclass(frozen=True)
class NodeReading:
    """A node as those who look at one node at a time read it: axis rules, rules of conversion, repair,
    size arithmetic.
    """

    node: gs.Node

    @property
    def op(self) -> str:
        """The operator, without its domain."""
        op: str = self.node.op
        return op

    @property
    def name(self) -> str:
        """Unique in its graph."""
        name: str = self.node.name
        return name

    @property
    def inputs(self) -> list[gs.Tensor]:
        """What it reads; an optional input that is not given has no name."""
        inputs: list[gs.Tensor] = self.node.inputs
        return inputs

    @property
    def outputs(self) -> list[gs.Tensor]:
        """What it writes; an optional output that is not wanted has no name."""
        outputs: list[gs.Tensor] = self.node.outputs
        return outputs

    def attr(self, name: str, default: Any = None) -> Any:
        """The value of an attribute."""
        return self.node.attrs.get(name, default)

    def has(self, operand: int) -> bool:
        """Whether the optional input is given."""
        return operand < len(self.inputs) and bool(self.inputs[operand].name)

    def is_constant(self, operand: int) -> bool:
        """Whether an initialiser is read there."""
        return self.has(operand) and isinstance(self.inputs[operand], gs.Constant)

    def dims(self, operand: int) -> tuple[int, ...]:
        """Shape of a constant; its values are not read."""
        return constant_dims(self.inputs[operand])
