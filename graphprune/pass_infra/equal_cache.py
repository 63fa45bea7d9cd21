"""Decoders keep a cache of one shape in all layers, unless they are told otherwise.

optimum's ORTModelForCausalLM and onnxruntime-genai before 0.15 make the empty past of every layer alike.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphprune.analysis.groups import Group
from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.axes import algebra
from graphprune.axes.algebra import Atom
from graphprune.axes.cache import head_places

RULE = "equally many KV heads in all layers (uniform=true, as optimum and onnxruntime-genai before 0.15 need them)"


def equal_groups(analysis: ModelAnalysis, groups: Sequence[Group]) -> list[list[int]]:
    """Places in ``groups`` of those that must lose equally many units."""
    place = {group.atom: index for index, group in enumerate(groups)}
    found = ([place[atom] for atom in atoms if atom in place] for atoms in _equal_atoms(analysis))
    return [places for places in found if places]


def kept_for_others(analysis: ModelAnalysis, groups: Sequence[Group]) -> dict[str, str]:
    """Those of ``groups``, by name, that must stay whole because another that must lose as many does; and why."""
    offered = {group.atom: group for group in groups}
    names = {group.atom: group.name for group in analysis.groups}
    reasons: dict[str, str] = {}
    for atoms in _equal_atoms(analysis):
        staying = [names.get(atom, "the cache of another layer") for atom in atoms if atom not in offered]
        if not staying and len({atom.size for atom in atoms}) > 1:
            staying = ["the cache of another layer"]
        if staying:
            why = f"{staying[0]} stays whole, and the cache has {RULE}"
            reasons |= {offered[atom].name: why for atom in atoms if atom in offered}
    return reasons


def _equal_atoms(analysis: ModelAnalysis) -> list[list[Atom]]:
    """Atoms that must stay equally large. None where the layers' caches differ already."""
    axes = [analysis.typing.axes[name][axis] for name, axis in head_places(analysis.model)]
    if len({algebra.size_of(axis) for axis in axes}) > 1:
        return []
    layers = list(dict.fromkeys(tuple(algebra.atoms_of(axis)) for axis in axes))
    if len({len(atoms) for atoms in layers}) > 1:
        return [[atom for atoms in layers for atom in atoms]]
    return [list(atoms) for atoms in zip(*layers, strict=True) if len(atoms) > 1]
