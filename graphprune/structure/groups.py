"""Dependency groups: every atom of the axis types that layers write, with all the weight axes that shrink with it.

One index of a group's atom is a *unit*: a filter, a neuron, an attention head, a channel of the residual stream.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import onnx_graphsurgeon as gs

from graphprune.axes import algebra
from graphprune.axes.algebra import Atom, Axis, Freeze
from graphprune.axes.typing import Typing
from graphprune.model import Model
from graphprune.structure.names import layer_label
from graphprune.structure.roles import weight_axes
from graphprune.structure.view import View

Kind = Literal["filters", "neurons", "heads", "kv-heads", "query-heads", "head-dim", "conv-groups", "width"]
_JOINS = ("Add", "Sum")
_ATTENTION_HEADS = ("num_heads", "q_num_heads", "kv_num_heads")


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
    writers, readers : layers (node names) whose weights have it as output, as input.
    uses : every constant axis that shrinks with it.
    freeze : why it cannot shrink; None when it can.
    """

    name: str
    kind: Kind
    size: int
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    uses: tuple[Use, ...] = field(repr=False)
    freeze: Freeze | None
    atom: Atom = field(repr=False, compare=False)

    @property
    def is_prunable(self) -> bool:
        return self.freeze is None


def find_groups(model: Model, typing: Typing) -> list[Group]:
    """Every group of ``model`` with at least two units, in the order of the first layer that writes it."""
    view = View(model)
    writers: dict[Atom, list[str]] = defaultdict(list)
    readers: dict[Atom, list[str]] = defaultdict(list)
    for node in model.graph.nodes:
        for place in weight_axes(node):
            axes = typing.constants.get((node.name, place.operand))
            for atom in dict.fromkeys(algebra.atoms_of(axes[place.axis])) if axes else ():
                (writers if place.is_output else readers)[atom].append(node.name)
    uses: dict[Atom, list[Use]] = defaultdict(list)
    for (name, operand), axes in typing.constants.items():
        for index, axis in enumerate(axes):
            for atom in dict.fromkeys(algebra.atoms_of(axis)):
                uses[atom].append(Use(name, operand, index))
    kinds = _kinds(model, typing, view, writers)
    found = {
        atom: Group(
            name=f"{layer_label(view, names)}/{kinds[atom]}",
            kind=kinds[atom],
            size=atom.size,
            writers=tuple(dict.fromkeys(names)),
            readers=tuple(dict.fromkeys(readers.get(atom, ()))),
            uses=tuple(uses[atom]),
            freeze=atom.freeze,
            atom=atom,
        )
        for atom, names in writers.items()
        if atom.size > 1
    }
    return _named_apart(list(found.values()))


def _named_apart(groups: list[Group]) -> list[Group]:
    """Number the groups that would share a name."""
    counts = Counter(group.name for group in groups)
    seen: Counter[str] = Counter()
    result = []
    for group in groups:
        seen[group.name] += 1
        name = f"{group.name}.{seen[group.name]}" if counts[group.name] > 1 else group.name
        result.append(replace(group, name=name))
    return result


def _kinds(model: Model, typing: Typing, view: View, writers: dict[Atom, list[str]]) -> dict[Atom, Kind]:
    kinds: dict[Atom, Kind] = {}
    for node in model.graph.nodes:
        _mark_attention(node, typing, kinds, writers)
    for size in typing.sizes:
        atoms = list(algebra.atoms_of(size.axis))
        if size.attribute in _ATTENTION_HEADS:
            _mark_heads([size.axis], kinds, writers)
        elif size.attribute in ("group", "num_groups") and not _is_depthwise(view.nodes[size.node], size.axis):
            for atom in atoms:
                kinds.setdefault(atom, "conv-groups")
    for atom in _streams(model, typing, writers):
        kinds.setdefault(atom, "width")
    for atom, names in writers.items():
        is_conv = any("Conv" in view.nodes[name].op for name in names)
        kinds.setdefault(atom, "filters" if is_conv else "neurons")
    return kinds


def _is_depthwise(node: gs.Node, groups: Axis) -> bool:
    """One input channel per group: the group is the channel itself."""
    if node.op not in ("Conv", "ConvTranspose"):
        return False
    shape = node.inputs[1].shape
    return bool(shape[1] == 1 if node.op == "Conv" else shape[0] == algebra.size_of(groups))


def _mark_attention(node: gs.Node, typing: Typing, kinds: dict[Atom, Kind], written: Container[Atom]) -> None:
    """Heads are the batch axes of a product of data with data; the depth of a head is summed over or written last."""
    if node.op == "Attention" and len(typing.of(node, 0) or ()) == 4:
        _mark_heads([(typing.of(node, 0) or ())[1]], kinds, written)
    if node.op not in ("MatMul", "FusedMatMul") or any(isinstance(tensor, gs.Constant) for tensor in node.inputs):
        return
    operands = [typing.of(node, 0), typing.of(node, 1)]
    if any(axes is None or len(axes) < 3 for axes in operands):
        return
    _mark_heads(typing.axes.get(node.outputs[0].name, ())[:-2], kinds, written)
    for axes in operands:
        for axis in (axes or ())[-2:]:
            for atom in algebra.atoms_of(axis):
                if atom in written:
                    kinds.setdefault(atom, "head-dim")


def _mark_heads(axes: Iterable[Axis], kinds: dict[Atom, Kind], written: Container[Atom]) -> None:
    atoms = [atom for axis in axes for atom in algebra.atoms_of(axis) if atom in written]
    grouped: tuple[Kind, Kind] = ("kv-heads", "query-heads")
    for index, atom in enumerate(atoms):
        name: Kind = grouped[index] if len(atoms) == 2 else "heads"
        if kinds.get(atom, "heads") == "heads":
            kinds[atom] = name


def _streams(model: Model, typing: Typing, writers: dict[Atom, list[str]]) -> Iterator[Atom]:
    """Atoms into which different layers add: residual streams.

    For every tensor and atom the set of layers that wrote it; where an addition joins different sets, it is a stream.
    """
    writes: dict[str, set[Atom]] = defaultdict(set)
    for atom, names in writers.items():
        for name in names:
            writes[name].add(atom)
    sources: dict[tuple[str, Atom], frozenset[str]] = {}
    known: set[Atom] = set()
    for node in model.graph.nodes:
        data = [tensor.name for tensor in node.inputs if tensor.name and not isinstance(tensor, gs.Constant)]
        for output in node.outputs:
            for atom in {atom for axis in typing.axes.get(output.name, ()) for atom in algebra.atoms_of(axis)}:
                if atom in known or atom not in writers:
                    continue
                if atom in writes[node.name]:
                    sources[output.name, atom] = frozenset((node.name,))
                    continue
                origins = {sources[name, atom] for name in data if (name, atom) in sources}
                if node.op in _JOINS and len(origins) > 1:
                    known.add(atom)
                    yield atom
                elif origins:
                    sources[output.name, atom] = frozenset().union(*origins)
