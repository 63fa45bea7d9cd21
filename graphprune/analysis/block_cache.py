"""Which keys and values of a decoder's cache leave with a block."""

from __future__ import annotations

from collections.abc import Collection

from graphprune.analysis.dataflow import DataFlow
from graphprune.analysis.refusals import Refusal
from graphprune.decoder.interface import CacheTensor
from graphprune.ir.asked_shapes import SHAPE_OPS


def own_cache(flow: DataFlow, interior: Collection[str], join: str) -> tuple[CacheTensor, ...] | Refusal:
    """The cache of the nodes ``interior``, whose sum is ``join``: all of the layer's, and read by nobody else.

    Others may ask for the shape of a past: it is that of another layer's.
    """
    cache = []
    for tensor in flow.cache:
        readers = [name for name in flow.readers.get(tensor.past, ()) if flow.nodes[name].op not in SHAPE_OPS]
        inside = [name for name in readers if name in interior]
        is_made = flow.producer.get(tensor.present) in interior
        if not inside and not is_made:
            continue
        if not is_made:
            return Refusal("side-reader", f"{inside[0]}, in the block of {join}, reads {tensor.past} of another layer")
        if len(inside) < len(readers):
            other = next(name for name in readers if name not in interior)
            return Refusal("side-reader", f"{other} reads {tensor.past} of the block of {join}")
        cache.append(tensor)
    numbers = {tensor.layer for tensor in cache}
    left = [tensor for tensor in flow.cache if tensor.layer in numbers and tensor not in cache]
    if left:
        return Refusal("side-reader", f"{left[0].past} is not of the block of {join}, but of the same layer")
    return tuple(cache)
