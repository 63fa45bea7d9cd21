"""Dependency groups: every atom of the axis types that layers write, with all the weight axes that shrink with it.

One index of a group's atom is a *unit*: a filter, a neuron, an attention head, a channel of the residual stream.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace

from graphprune.analysis.dataflow import DataFlow
from graphprune.analysis.kinds import UnitKind, unit_kinds
from graphprune.analysis.names import layer_label
from graphprune.analysis.roles import weight_axes
from graphprune.axes import algebra
from graphprune.axes.algebra import Atom, Axis, Freeze
from graphprune.axes.typing import Typing
from graphprune.ir.bodies import all_nodes
from graphprune.ir.model import Model


@dataclass(frozen=True)
class Use:
    """Axis ``axis`` of the constant that ``node`` reads at ``operand`` holds the group's atom."""

    node: str
    operand: int
    axis: int


@dataclass(frozen=True)
class Group:
    """All that must shrink together.

    Attributes
    ----------
    name : unique, from the names of the layers that write it: ``layer1.0.conv1/filters``.
    kind : what its units are. "width" is a residual stream: several layers add into it.
    size : number of units.
    unit_channels : the most channels of one layer that a unit is: 1 of a filter, the depth of a head, or all channels
    of the first stage where each later stage multiplies them (grouped downsampling).
    writers, readers : layers (node names) whose weights have it as output, as input.
    uses : every constant axis that shrinks with it.
    freeze : why it cannot shrink; None when it can.
    least : the fewest units that must stay: as many experts as a token goes to.
    """

    name: str
    kind: UnitKind
    size: int
    unit_channels: int
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    uses: tuple[Use, ...] = field(repr=False)
    freeze: Freeze | None
    atom: Atom = field(repr=False, compare=False)
    least: int = 1

    @property
    def is_prunable(self) -> bool:
        return self.freeze is None


def find_groups(model: Model, typing: Typing) -> list[Group]:
    """Every group of ``model`` with at least two units, in the order of the first layer that writes it."""
    flow = model.derived(DataFlow)
    writers: dict[Atom, list[str]] = defaultdict(list)
    readers: dict[Atom, list[str]] = defaultdict(list)
    channels: dict[Atom, int] = defaultdict(int)
    for node in all_nodes(model.graph):
        for place in weight_axes(node):
            axes = typing.constants.get(place.constant)
            for atom in dict.fromkeys(algebra.atoms_of(axes[place.axis])) if axes else ():
                (writers if place.is_output else readers)[atom].append(node.name)
                if place.is_output and axes:
                    channels[atom] = max(channels[atom], _indices_of_one(atom, axes[place.axis]))
    uses: dict[Atom, list[Use]] = defaultdict(list)
    for (name, operand), axes in typing.constants.items():
        for index, axis in enumerate(axes):
            for atom in dict.fromkeys(algebra.atoms_of(axis)):
                uses[atom].append(Use(name, operand, index))
    least: dict[Atom, int] = defaultdict(lambda: 1)
    for each in typing.least:
        for atom in algebra.atoms_of(each.axis):
            least[atom] = max(least[atom], each.count)
    kinds = unit_kinds(model, typing, flow, writers)
    found = {
        atom: Group(
            name=f"{layer_label(flow, names)}/{kinds[atom]}",
            kind=kinds[atom],
            size=atom.size,
            unit_channels=channels[atom],
            writers=tuple(dict.fromkeys(names)),
            readers=tuple(dict.fromkeys(readers.get(atom, ()))),
            uses=tuple(uses[atom]),
            freeze=atom.freeze,
            atom=atom,
            least=least[atom],
        )
        for atom, names in writers.items()
        if atom.size > 1
    }
    return _named_apart(flow, list(found.values()))


def _indices_of_one(atom: Atom, axis: Axis) -> int:
    """How many indices of ``axis`` go with one of ``atom``."""
    return algebra.size_of(axis) - algebra.size_of(axis, {atom: atom.size - 1})


def _named_apart(flow: DataFlow, groups: list[Group]) -> list[Group]:
    """Groups that would share a name take that of the first layer that writes each,
    or are numbered if that is shared.
    """
    first = [f"{layer_label(flow, group.writers[:1])}/{group.kind}" for group in groups]
    shared, shared_first = Counter(group.name for group in groups), Counter(first)
    names = [
        own if shared[group.name] > 1 and shared_first[own] == 1 and own not in shared else group.name
        for group, own in zip(groups, first, strict=True)
    ]
    counts, seen = Counter(names), Counter[str]()
    for index, name in enumerate(names):
        seen[name] += 1
        if counts[name] > 1:
            names[index] = f"{name}.{seen[name]}"
    return [replace(group, name=name) for group, name in zip(groups, names, strict=True)]
