"""Axis rules: one function per operator family, which relates the axes of what a node reads and writes.

A rule is registered for a domain, operators and an opset range.
It gets a :class:`NodeTyping` and returns the axes of the node's outputs, or None where it does not understand this use
of the operator; then every axis involved is frozen and reported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from graphprune.axes import algebra
from graphprune.axes.algebra import Axes, Axis, Freeze
from graphprune.axes.typing import Contraction, Least, SizeField, Typing
from graphprune.base.operator_rules import RuleBook
from graphprune.ir.node_reading import NodeReading

CONTRIB = "com.microsoft"


@dataclass(frozen=True)
class NodeTyping(NodeReading):
    """A node as its rule sees it: its axes, and what the rule finds out of them."""

    typing: Typing
    opset: int

    def axes(self, operand: int) -> Axes | None:
        """Axes of an input; a constant gets fresh ones at its first mention."""
        if self.is_constant(operand):
            key = (self.name, operand)
            if key not in self.typing.constants:
                self.typing.constants[key] = tuple(map(algebra.fresh, self.dims(operand)))
            return self.typing.constants[key]
        return self.typing.of(self.node, operand)

    def value(self, operand: int) -> np.ndarray | None:
        """What a small input holds, where that is known."""
        return self.typing.probe.value(self.inputs[operand]) if self.has(operand) else None

    def ints(self, operand: int) -> list[int] | None:
        """A small integer input as a list."""
        value = self.value(operand)
        return None if value is None else [int(v) for v in np.ravel(value)]

    def is_read(self, output: int) -> bool:
        """Whether anybody looks at this output."""
        return output < len(self.outputs) and self.typing.is_read(self.outputs[output])

    def out_shape(self, output: int = 0) -> tuple[int, ...] | None:
        return self.typing.probe.shapes.get(self.outputs[output].name)

    def unify(self, one: Axis, other: Axis) -> None:
        algebra.unify(one, other, self.name)

    def freeze(self, axis: Axis, reason: str) -> None:
        algebra.freeze(axis, Freeze(reason, self.name))

    def freeze_all(self, axes: Sequence[Axis], reason: str) -> None:
        for axis in axes:
            self.freeze(axis, reason)

    def frozen(self, size: int, reason: str) -> Axis:
        """A new axis that may not shrink."""
        return algebra.fresh(size, Freeze(reason, self.name))

    def contract(self, operand: int, axis: int) -> None:
        """Note that the node sums over this axis."""
        self.typing.contractions.append(Contraction(self.name, operand, axis))

    def choose(self, operand: int, axis: int, count: int = 1) -> None:
        """Note that the node takes the ``count`` largest along this axis, or shares of all."""
        self.typing.contractions.append(Contraction(self.name, operand, axis, is_choice=True))
        self.typing.least.append(Least(self.name, require(self.axes(operand))[axis], count))

    def picked(self, operand: int) -> Axis | None:
        """The axis that an input of indices counts along, where that is known."""
        return self.typing.picked.get(self.inputs[operand].name) if self.has(operand) else None

    def size(
        self,
        axis: Axis,
        *,
        operand: int = -1,
        attribute: str = "",
        element: int | None = None,
        follows: Axis | None = None,
        is_negative: bool = False,
    ) -> None:
        """Note that an input's element or an attribute holds the size of ``axis``, or minus that size."""
        self.typing.sizes.append(SizeField(self.name, axis, operand, attribute, element, follows, is_negative))


AxisRule = Callable[[NodeTyping], "list[Axes] | None"]
BOOK: RuleBook[AxisRule] = RuleBook()
rule, find_rule, known_ops = BOOK.rule, BOOK.find, BOOK.ops


class Unknown(Exception):
    """Something a rule needs is not known; the inference then freezes what the node touches."""


_T = TypeVar("_T")


def require(value: _T | None) -> _T:
    """The value, if it is known; else :class:`Unknown` is raised."""
    if value is None:
        raise Unknown
    return value
