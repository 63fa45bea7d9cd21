"""The result of axis typing: a type for every axis of every tensor, and where sizes and silence live in the graph."""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx_graphsurgeon as gs

from graphprune.axes.algebra import Axes, Axis
from graphprune.axes.probe import Probe


@dataclass(frozen=True)
class SizeField:
    """A number in the graph that is the size of ``axis``: an element of input ``operand``, or of an attribute.

    ``follows`` is an axis whose size the field takes by itself (a Reshape entry of 0, a dimension read from a tensor).
    With ``is_negative`` the number is minus the size: Slice counts so from the end.
    """

    node: str
    axis: Axis
    operand: int = -1
    attribute: str = ""
    element: int | None = None
    follows: Axis | None = None
    is_negative: bool = False


@dataclass(frozen=True)
class Contraction:
    """Where a node sums over axis ``axis`` of input ``operand``: an index that is zero there is an index removed.

    With ``is_choice`` it takes the largest along it, or shares of what is there: an index that holds the lowest number
    there is, is an index removed.
    """

    node: str
    operand: int
    axis: int
    is_choice: bool = False


@dataclass(frozen=True)
class Least:
    """``node`` chooses ``count`` indices of ``axis``: so many must be there to choose."""

    node: str
    axis: Axis
    count: int


@dataclass(frozen=True)
class Missing:
    """A node whose operator no rule covers; ``effect`` says what was done instead."""

    node: str
    op: str
    effect: str


@dataclass
class Typing:
    """Types of one model.

    Attributes
    ----------
    axes : name of a computed tensor or input -> its axes; absent where the rank is not known.
    constants : (node, operand) -> axes of the constant read there. Each *use* has its own,
    for exporters share equal ones. sizes : numbers that must be rewritten when an axis shrinks.
    contractions : the places where silencing an index equals removing it.
    picked : name of a tensor of indices -> the axis that they count along.
    least : the fewest indices that some axes can do with.
    missing : nodes without a rule.
    inferred : Reshape -> the one entry that a rewrite leaves open (-1), for its size is computed in the graph.
    scaled : (node, operand, element) of sizes that are computed; a rewrite multiplies them by the share that is left.
    restored : (node, operand) that computes with the size of an axis -> the axis; a rewrite gives it the size it was.
    results : names of the tensors that leave a graph: its outputs, those of bodies, and what bodies take from outside.
    """

    probe: Probe
    results: frozenset[str] = frozenset()
    axes: dict[str, Axes] = field(default_factory=dict)
    constants: dict[tuple[str, int], Axes] = field(default_factory=dict)
    sizes: list[SizeField] = field(default_factory=list)
    contractions: list[Contraction] = field(default_factory=list)
    picked: dict[str, Axis] = field(default_factory=dict)
    least: list[Least] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    inferred: dict[str, int] = field(default_factory=dict)
    scaled: set[tuple[str, int, int]] = field(default_factory=set)
    restored: dict[tuple[str, int], Axis] = field(default_factory=dict)

    def of(self, node: gs.Node, operand: int) -> Axes | None:
        """Axes of what ``node`` reads at ``operand``; None where absent or of unknown rank."""
        tensor = node.inputs[operand] if operand < len(node.inputs) else None
        if tensor is None or not tensor.name:
            return None
        if isinstance(tensor, gs.Constant):
            return self.constants.get((node.name, operand))
        return self.axes.get(tensor.name)

    def is_read(self, tensor: gs.Tensor) -> bool:
        """Whether anybody looks at what a node writes."""
        return bool(tensor.name) and (bool(tensor.outputs) or tensor.name in self.results)
