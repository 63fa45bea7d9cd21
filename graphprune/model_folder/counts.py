"""What a decoder's file itself shows of its layers: the cache of each, its heads, its MLPs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from graphprune.decoder.interface import DecoderInterface, decoder_interface
from graphprune.ir.model import Dim, Model, constant_dims, constants

_HEAD_AXIS, _DEPTH_AXIS = 1, 3
_STACK_RANK = 3


@dataclass(frozen=True)
class CacheCounts:
    """``kv_heads`` and ``head_dims`` have an entry for each layer with a cache; a free axis counts as None.

    ``query_heads`` are those of fused attention nodes, for each such node.
    """

    kv_heads: tuple[int | None, ...]
    head_dims: tuple[int | None, ...]
    query_heads: tuple[int, ...]

    @property
    def layers(self) -> int:
        return len(self.kv_heads)


def cache_counts(model: Model) -> CacheCounts | None:
    """What the cache of a decoder shows; None where the model has none."""
    interface = decoder_interface(model)
    if interface is None:
        return None
    dims = {tensor.layer: tensor.dims for tensor in interface.cache}
    rows = [dims[layer] for layer in interface.layers]
    return CacheCounts(
        kv_heads=tuple(_size(row, _HEAD_AXIS) for row in rows),
        head_dims=tuple(_size(row, _DEPTH_AXIS) for row in rows),
        query_heads=tuple(
            int(node.attrs["num_heads"])
            for node in model.graph.nodes
            if node.op == "GroupQueryAttention" and "num_heads" in node.attrs
        ),
    )


def _size(dims: tuple[Dim, ...], axis: int) -> int | None:
    dim = dims[axis] if len(dims) == _DEPTH_AXIS + 1 else None
    return dim if isinstance(dim, int) else None


def surviving_layers(before: Model, after: Model) -> tuple[int, ...] | None:
    """Which caches of ``before`` are left in ``after``, in its order, counted from 0; None where it is not clear.

    A cache is known by the nodes that read it, which keep their names when it gets another number.
    """
    old, new = decoder_interface(before), decoder_interface(after)
    if old is None or new is None:
        return None
    was = list(_readers(before, old))
    found: list[int] = []
    for readers in _readers(after, new):
        shared = [len(readers & others) for others in was]
        best = max(shared)
        if best == 0 or shared.count(best) > 1:
            return None
        found.append(shared.index(best))
    return tuple(found) if found == sorted(set(found)) else None


def _readers(model: Model, interface: DecoderInterface) -> Iterator[set[str]]:
    """The nodes that read the past of each layer, those apart that every layer may lend its past to."""
    for layer in interface.layers:
        names = {tensor.past for tensor in interface.cache if tensor.layer == layer}
        yield {
            node.name
            for node in model.graph.nodes
            if node.op != "Shape" and any(tensor.name in names for tensor in node.inputs)
        }


def expert_counts(before: Model, after: Model, experts: int) -> tuple[int, ...]:
    """How many experts are left in each stack of weights that held so many. A stack is known by its name."""
    stacks = {weight.name for weight in constants(before.graph) if _is_stack(constant_dims(weight), experts)}
    return tuple(constant_dims(weight)[0] for weight in constants(after.graph) if weight.name in stacks)


def _is_stack(dims: tuple[int, ...], experts: int) -> bool:
    return len(dims) == _STACK_RANK and dims[0] == experts


def mlp_sizes(before: Model, after: Model, size: int) -> tuple[int, tuple[int, ...]]:
    """How many weights of ``before`` have an axis of ``size`` neurons, and how many neurons those left of them have.

    A weight is known by its name.
    """
    was = {weight.name: constant_dims(weight) for weight in constants(before.graph)}
    wide = {name: dims for name, dims in was.items() if len(dims) == 2 and Counter(dims)[size] == 1}
    left: list[int] = []
    for weight in constants(after.graph):
        dims = constant_dims(weight)
        if weight.name in wide and len(dims) == 2:
            left.append(dims[wide[weight.name].index(size)])
    return len(wide), tuple(left)
