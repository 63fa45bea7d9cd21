"""A decoder without some of its layers takes no past for them and gives no present; the others are counted anew."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import onnx
import onnx_graphsurgeon as gs

from graphprune.analysis.blocks import Block
from graphprune.decoder.interface import CacheTensor, DecoderInterface, decoder_interface
from graphprune.errors import GraphpruneError, PlanError
from graphprune.ir.asked_shapes import SHAPE_OPS
from graphprune.ir.bodies import all_nodes
from graphprune.ir.input_origins import note_inputs
from graphprune.ir.model import Model

_NUMBER = re.compile(r"\d+")


def cache_of(blocks: Sequence[Block]) -> list[CacheTensor]:
    """What leaves the cache with ``blocks``."""
    return [tensor for block in blocks for tensor in block.cache]


def new_names(model: Model, gone: Collection[CacheTensor]) -> dict[str, str]:
    """Old name -> new name of every past and present that stays: each number is lower by the layers gone below it."""
    decoder, numbers = decoder_interface(model), sorted({tensor.layer for tensor in gone})
    names = {}
    for tensor in decoder.cache if decoder is not None else ():
        if tensor not in gone:
            number = str(tensor.layer - sum(each < tensor.layer for each in numbers))
            for name in (tensor.past, tensor.present):
                names[name] = _NUMBER.sub(number, name, count=1)
    return names


def close(small: Model, model: Model, blocks: Sequence[Block], gone: Collection[str]) -> None:
    """Clean up ``small``, a rewritten copy of ``model``, which ``blocks`` have left with the nodes ``gone``; their
    cache leaves as well.

    Raises
    ------
    PlanError
        No layer would be left that has a cache, where there were some.
    """
    cache = cache_of(blocks)
    if cache:
        _shut(small, decoder_interface(model), cache)
    small.graph.cleanup().toposort()
    if cache:
        _count_anew(small, cache, new_names(model, cache))
    left = {*gone} & {node.name for node in all_nodes(small.graph)}
    if left:
        raise GraphpruneError(f"removing {len(blocks)} blocks left {sorted(left)[0]} behind", "please report this")


def _shut(model: Model, decoder: DecoderInterface | None, gone: Collection[CacheTensor]) -> None:
    """Take ``gone`` from the inputs and outputs of a graph that is being rewritten, before it is cleaned up.

    ``decoder`` is how the network before the rewrite is used.

    Who asks for the shape of a past (masks and positions hang on that of the first layer, say) asks for another's.

    Raises
    ------
    PlanError
        No layer would be left that has a cache.
    """
    left = [tensor for tensor in decoder.cache if tensor not in gone] if decoder is not None else []
    if not left:
        raise PlanError(
            "the plan removes every layer that has a cache, and positions are counted by what is in it",
            "let one attention stay: exclude its block",
        )
    pasts, presents = ({tensor.past for tensor in gone}, {tensor.present for tensor in gone})
    inputs = {tensor.name: tensor for tensor in model.graph.inputs}
    for node in all_nodes(model.graph):
        for index, tensor in enumerate(node.inputs):
            if tensor.name in pasts and node.op in SHAPE_OPS:
                node.inputs[index] = inputs[_stand_in(tensor.name, gone, left)]
    model.graph.inputs = [tensor for tensor in model.graph.inputs if tensor.name not in pasts]
    model.graph.outputs = [tensor for tensor in model.graph.outputs if tensor.name not in presents]


def _count_anew(model: Model, gone: Collection[CacheTensor], names: Mapping[str, str]) -> None:
    """Give what is left of the cache its new ``names``, in the graph and in all that is kept beside it."""
    given = [value.name for value in model.header.graph.input]
    renamed = {id(tensor): tensor for node in all_nodes(model.graph) for tensor in (*node.inputs, *node.outputs)}
    renamed |= {id(tensor): tensor for tensor in (*model.graph.inputs, *model.graph.outputs)}
    for tensor in renamed.values():
        if not isinstance(tensor, gs.Constant):
            tensor.name = names.get(tensor.name, tensor.name)
    lost = {name for tensor in gone for name in (tensor.past, tensor.present)}
    model.shapes = {names.get(name, name): dims for name, dims in model.shapes.items() if name not in lost}
    model.dtypes = {names.get(name, name): kind for name, kind in model.dtypes.items() if name not in lost}
    header = onnx.ModelProto()
    header.CopyFrom(model.header)
    for values in (header.graph.input, header.graph.output):
        _rewrite_values(values, lost, names)
    pasts = {value.name for value in header.graph.input}
    made: dict[str, tuple[str, Sequence[Any]]] = {new: (old, ()) for old, new in names.items() if new in pasts}
    note_inputs(header, given, made)
    model.header = header


def _rewrite_values(values: Any, lost: Collection[str], names: Mapping[str, str]) -> None:
    """Declared inputs or outputs, in their order, without what is lost."""
    kept = [onnx.ValueInfoProto.FromString(v.SerializeToString()) for v in values if v.name not in lost]
    for value in kept:
        value.name = names.get(value.name, value.name)
    del values[:]
    values.extend(kept)


def _stand_in(past: str, gone: Collection[CacheTensor], left: Sequence[CacheTensor]) -> str:
    """A past that stays and has the shape of ``past``, of the same kind if there is one."""
    dims = next(tensor.dims for tensor in gone if tensor.past == past)
    alike = [tensor for tensor in left if tensor.dims == dims and None not in dims]
    if not alike:
        raise GraphpruneError(
            f"the shape of '{past}' is asked for elsewhere, and no other past has the same", "exclude its block"
        )
    kind = _NUMBER.sub("", past, count=1)
    return next((tensor.past for tensor in alike if _NUMBER.sub("", tensor.past, count=1) == kind), alike[0].past)
