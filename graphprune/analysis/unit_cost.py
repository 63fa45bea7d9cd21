"""The exact cost of a model as a function of how many indices of each atom stay; nothing is rewritten to know it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import onnx_graphsurgeon as gs

from graphprune.analysis.cost import Cost, node_macs, parameters
from graphprune.analysis.sizes import Sizes
from graphprune.axes import algebra
from graphprune.axes.algebra import Atom, Axis, Counts
from graphprune.axes.typing import Typing
from graphprune.ir.bodies import all_nodes
from graphprune.ir.model import Model, constant_dims, constants
from graphprune.ir.quantised import weight_place
from graphprune.ir.recurrent_states import RECURRENT


@dataclass(frozen=True)
class _Term:
    """A number of MACs or parameters that is proportional to the product of some axes.

    A constant has one tuple of axes for each way in which its readers use it: readers that are cut get their own copy.
    """

    whole: int
    ways: tuple[tuple[Axis, ...], ...]

    def at(self, counts: Counts) -> int:
        alike = {algebra.cut_axes(axes, counts): axes for axes in self.ways}
        return sum(
            self.whole * prod(algebra.size_of(a, counts) for a in axes) // (prod(map(algebra.size_of, axes)) or 1)
            for axes in alike.values()
        )


class UnitCost:
    """MACs and parameters for any choice of kept units; changing one atom recomputes only what holds it."""

    def __init__(self, model: Model, typing: Typing, sizes: Sizes) -> None:
        macs = [term for node in all_nodes(model.graph) for term in _macs_terms(node, typing, sizes)]
        params = _parameter_terms(model, typing)
        self._terms: list[tuple[bool, _Term]] = [(True, term) for term in macs] + [(False, term) for term in params]
        self._holding: dict[Atom, list[int]] = defaultdict(list)
        for index, (_, term) in enumerate(self._terms):
            for atom in {atom for axes in term.ways for axis in axes for atom in algebra.atoms_of(axis)}:
                self._holding[atom].append(index)
        self.counts: dict[Atom, int] = {}
        self._values = [term.whole for _, term in self._terms]
        self.macs = sum(value for value, (is_macs, _) in zip(self._values, self._terms, strict=True) if is_macs)
        self.params = sum(self._values) - self.macs

    @property
    def cost(self) -> Cost:
        return Cost(self.macs, self.params)

    def keep(self, atom: Atom, count: int) -> None:
        """From now on ``count`` indices of ``atom`` stay."""
        self.counts[atom] = count
        for index in self._holding[atom]:
            is_macs, term = self._terms[index]
            change = term.at(self.counts) - self._values[index]
            self._values[index] += change
            if is_macs:
                self.macs += change
            else:
                self.params += change

    def saving(self, atom: Atom, count: int) -> Cost:
        """What leaves if ``count`` indices of ``atom`` stay, all else as it is now."""
        before, old = self.cost, self.counts.get(atom, atom.size)
        self.keep(atom, count)
        after = self.cost
        self.keep(atom, old)
        return Cost(before.macs - after.macs, before.params - after.params)

    def unit_saving(self, atom: Atom) -> Cost:
        """What one more unit of ``atom`` saves, when the copies that its first unit costs have been paid for."""
        first = self.saving(atom, atom.size - 1)
        if not self.needs_copy(atom):
            return first
        both = self.saving(atom, atom.size - 2)
        return Cost(both.macs - first.macs, both.params - first.params)

    def needs_copy(self, atom: Atom) -> bool:
        """Whether some constant that shrinks with ``atom`` is also used in another way, and so must be copied."""
        return any(len(self._terms[index][1].ways) > 1 for index in self._holding[atom])


def _macs_terms(node: gs.Node, typing: Typing, sizes: Sizes) -> Iterator[_Term]:
    if node.op in RECURRENT:
        yield from _recurrent_terms(node, typing, sizes)
    elif (term := _macs_term(node, typing, sizes)) is not None:
        yield term


def _recurrent_terms(node: gs.Node, typing: Typing, sizes: Sizes) -> Iterator[_Term]:
    """At each step both weights are multiplied with a vector of each sample."""
    steps = prod(sizes.get(node.inputs[0].name, (0,))[:2])
    for operand in (1, 2):
        place = weight_place(node, operand)
        if steps and place is not None:
            axes = typing.constants.get((place[0].name, place[1]))
            weight = prod(constant_dims(place[0].inputs[place[1]]))
            yield _Term(steps * weight, (algebra.free_axes(axes) if axes is not None else (),))


def _macs_term(node: gs.Node, typing: Typing, sizes: Sizes) -> _Term | None:
    """Every weighted node's MACs are the product of its output's axes (ConvTranspose:
    its input's) and what it sums over.
    """
    whole = node_macs(node, sizes)
    if not whole:
        return None
    operand = 1 if weight_place(node, 1) is not None else 0
    place = weight_place(node, operand)
    weight = None if place is None else typing.constants.get((place[0].name, place[1]))
    outer = typing.of(node, 0) if node.op == "ConvTranspose" else typing.axes.get(node.outputs[0].name)
    if weight is None or outer is None:
        return _Term(whole, ((),))
    if node.op in ("Conv", "ConvTranspose"):
        return _Term(whole, (algebra.free_axes((*outer, weight[1])),))
    is_swapped = bool(node.attrs.get("transB" if operand == 1 else "transA", 0))
    summed = weight[-1] if len(weight) == 1 or (operand == 1) == is_swapped else weight[-2]
    return _Term(whole, (algebra.free_axes((*outer, summed)),))


def _parameter_terms(model: Model, typing: Typing) -> list[_Term]:
    """One term per constant and way of cutting it: readers that cut it alike share the result."""
    readers: dict[str, set[tuple[Axis, ...]]] = defaultdict(set)
    for node in all_nodes(model.graph):
        for operand, tensor in enumerate(node.inputs):
            if isinstance(tensor, gs.Constant):
                axes = typing.constants.get((node.name, operand), ())
                readers[tensor.name].add(tuple(map(algebra.expand, axes)))
                if tensor.name in typing.results:  # somebody else reads all of it
                    readers[tensor.name].add(())
    return [
        _Term(count, tuple(readers[constant.name] or {()}))
        for constant in constants(model.graph)
        if (count := parameters(constant))
    ]
