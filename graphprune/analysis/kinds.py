"""What the units of a group are: filters, neurons, experts, attention heads, channels of a residual stream ..."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import onnx_graphsurgeon as gs

from graphprune.analysis.dataflow import DataFlow
from graphprune.axes import algebra
from graphprune.axes.algebra import Atom, Axes, Axis
from graphprune.axes.typing import Typing
from graphprune.ir.bodies import all_nodes
from graphprune.ir.model import Model
from graphprune.ir.quantised import weight_dims, weight_place

UnitKind = Literal[
    "filters", "neurons", "experts", "heads", "kv-heads", "query-heads", "head-dim", "conv-groups", "width"
]
Writers = Mapping[Atom, list[str]]
"""Atom -> the layers (node names) whose weights have it as output."""

_JOINS = ("Add", "Sum")
_ATTENTION_HEADS = ("num_heads", "q_num_heads", "kv_num_heads")


def unit_kinds(model: Model, typing: Typing, flow: DataFlow, writers: Writers) -> dict[Atom, UnitKind]:
    """The kind of every atom that is written. The first that fits counts, in the order of the code."""
    kinds: dict[Atom, UnitKind] = dict.fromkeys(_atoms(least.axis for least in typing.least), "experts")
    products = list(_products(model, typing))
    for heads in (*(product.batch for product in products), *_declared_heads(model, typing)):
        _mark_heads(heads, kinds, writers)
    for atom in _streams(model, typing, writers):
        kinds.setdefault(atom, "width")
    for product in products:
        if len(product.batch) > 1 or any(atom in writers for atom in _atoms(product.batch)):
            for atom in _atoms(product.inner):
                kinds.setdefault(atom, "head-dim")
    for size in typing.sizes:
        if size.attribute in ("group", "num_groups") and not _is_depthwise(flow.all_nodes[size.node], size.axis):
            for atom in algebra.atoms_of(size.axis):
                kinds.setdefault(atom, "conv-groups")
    for atom, names in writers.items():
        is_conv = any("Conv" in flow.all_nodes[name].op for name in names)
        kinds.setdefault(atom, "filters" if is_conv else "neurons")
    return kinds


@dataclass(frozen=True)
class _Product:
    """A product of data with data, as in attention: one product for each index of ``batch``, samples or heads."""

    batch: Axes
    inner: Axes


def _products(model: Model, typing: Typing) -> Iterator[_Product]:
    for node in all_nodes(model.graph):
        operands = [typing.of(node, operand) for operand in range(len(node.inputs))]
        if len(operands) != 2 or any(weight_place(node, operand) for operand in (0, 1)):
            continue
        left, right = (operand or () for operand in operands)
        if node.op in ("MatMul", "FusedMatMul") and min(len(left), len(right)) >= 3:
            yield _Product(typing.axes.get(node.outputs[0].name, ())[:-2], (*left[-2:], *right[-2:]))
        elif node.op == "Einsum":
            terms, _, result = node.attrs.get("equation", "").replace(" ", "").partition("->")
            one, _, other = terms.partition(",")
            named = [*zip(one, left, strict=False), *zip(other, right, strict=False)]
            shared = set(one) & set(other) & set(result)
            yield _Product(
                tuple(axis for letter, axis in named if letter in shared),
                tuple(axis for letter, axis in named if letter not in shared),
            )


def _declared_heads(model: Model, typing: Typing) -> Iterator[Axes]:
    """Heads of fused attention: of operators that count them in an attribute, and of inputs that have them apart."""
    for node in all_nodes(model.graph):
        if node.op == "Attention" and len(axes := typing.of(node, 0) or ()) == 4:
            yield axes[1:2]
    for size in typing.sizes:
        if size.attribute in _ATTENTION_HEADS:
            yield (size.axis,)


def _mark_heads(axes: Axes, kinds: dict[Atom, UnitKind], writers: Writers) -> None:
    """Two atoms in the heads of one product: the groups that share a key and a value, and the queries of each."""
    atoms = list(dict.fromkeys(atom for atom in _atoms(axes) if atom in writers))
    grouped: tuple[UnitKind, UnitKind] = ("kv-heads", "query-heads")
    for index, atom in enumerate(atoms):
        name: UnitKind = grouped[index] if len(atoms) == 2 else "heads"
        if kinds.get(atom, "heads") == "heads":
            kinds[atom] = name


def _atoms(axes: Iterable[Axis]) -> Iterator[Atom]:
    return (atom for axis in axes for atom in algebra.atoms_of(axis))


def _is_depthwise(node: gs.Node, groups: Axis) -> bool:
    """One input channel per group: the group is the channel itself."""
    if node.op not in ("Conv", "ConvTranspose"):
        return False
    shape = weight_dims(node, 1)
    if shape is None:
        return False
    return bool(shape[1] == 1 if node.op == "Conv" else shape[0] == algebra.size_of(groups))


def _streams(model: Model, typing: Typing, writers: Writers) -> Iterator[Atom]:
    """Atoms into which different layers add: residual streams.

    For every tensor and atom the set of layers that wrote it; where an addition joins different sets, it is a stream.
    """
    writes: dict[str, set[Atom]] = defaultdict(set)
    for atom, names in writers.items():
        for name in names:
            writes[name].add(atom)
    sources: dict[tuple[str, Atom], frozenset[str]] = {}
    known: set[Atom] = set()
    for node in all_nodes(model.graph):
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
