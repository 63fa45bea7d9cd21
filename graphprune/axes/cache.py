"""A decoder's cache: its heads may shrink where what goes in and what comes out are one axis."""

from __future__ import annotations

from graphprune.axes import algebra
from graphprune.axes.algebra import Atom, Freeze
from graphprune.axes.typing import Typing
from graphprune.decoder.interface import decoder_interface
from graphprune.ir.model import Model

Place = tuple[str, int]
"""A tensor and one of its axes."""


def head_places(model: Model) -> dict[Place, Place]:
    """Where each past of ``model`` counts heads -> the same axis of the present that is fed back into it."""
    interface = decoder_interface(model)
    cache = interface.cache if interface is not None else ()
    return {
        (tensor.past, tensor.head_axis): (tensor.present, tensor.head_axis)
        for tensor in cache
        if tensor.head_axis is not None
    }


def tie_presents(model: Model, typing: Typing) -> frozenset[Place]:
    """The axes of pasts and presents that shrink together; where the two are not one axis, both are frozen."""
    tied: set[Place] = set()
    for past, present in head_places(model).items():
        goes_in = typing.axes[past[0]][past[1]]
        comes_out = typing.axes.get(present[0], ())[present[1] : present[1] + 1]
        if comes_out and algebra.is_same(goes_in, comes_out[0]):
            tied |= {past, present}
        else:
            for axis in (goes_in, *comes_out):
                why = "the cache that comes out does not have it as its own axis"
                algebra.freeze(axis, Freeze(why, past[0]))
    return frozenset(tied)


def cache_atoms(model: Model, typing: Typing) -> list[Atom]:
    """What can shrink of the heads that the cache holds, each once, in the order of the layers."""
    axes = [typing.axes[name][axis] for name, axis in head_places(model)]
    return list(dict.fromkeys(atom for axis in axes for atom in algebra.atoms_of(axis)))
