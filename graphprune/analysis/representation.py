"""Which tensor stands for "what the network knows" when two versions of it are compared.

The papers compare the input of the classifier. Generally: the input of the last layer (Conv, Gemm, MatMul) before each
output, provided no removable block holds that layer; else the output itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from graphprune.analysis.blocks import Block
from graphprune.analysis.dataflow import DataFlow, is_weighted
from graphprune.decoder.interface import decoder_interface
from graphprune.errors import OptionError
from graphprune.ir.bodies import with_bodies
from graphprune.ir.model import Model

_PASS_THROUGH = {"Flatten", "Reshape", "Squeeze"}


@dataclass(frozen=True)
class Representation:
    """A tensor and where its features are: ``channels`` = axis 1, the rest pooled; ``last`` = last axis,
    rows = the rest.
    """

    tensor: str
    layout: Literal["channels", "last"]

    def features(self, array: NDArray[np.floating]) -> NDArray[np.floating]:
        """Matrix (n, d): one row a sample (``channels``) or one row a position (``last``)."""
        if array.ndim <= 2:
            return array.reshape(len(array), -1)
        if self.layout == "last":
            return array.reshape(-1, array.shape[-1])
        pooled: NDArray[np.floating] = array.mean(axis=tuple(range(2, array.ndim)))
        return pooled


def find_representations(model: Model, blocks: Sequence[Block], names: Sequence[str] = ()) -> list[Representation]:
    """The representation behind every output, or the tensors the user named. Of a decoder, its cache does not count.

    Raises
    ------
    OptionError
        A named tensor does not exist or lies inside a removable block.
    """
    flow = model.derived(DataFlow)
    owner = {node: block for block in blocks for node in block.nodes}
    if names:
        return [_named(flow, owner, name) for name in names]
    presents = {tensor.present for tensor in flow.cache}
    found = (_behind(flow, owner, tensor.name) for tensor in model.graph.outputs if tensor.name not in presents)
    return list(dict.fromkeys(found))


def logits_of(model: Model) -> str:
    """The output with the logits: a decoder's for the next token, else the first."""
    decoder = decoder_interface(model)
    return str(model.graph.outputs[0].name) if decoder is None else decoder.logits


def class_scores(model: Model, blocks: Sequence[Block]) -> Representation:
    """The first output as logits of classes, or of tokens, along the last axis; of a final Softmax what it reads.

    Raises
    ------
    OptionError
        The first output has no such axis.
    """
    flow, output = model.derived(DataFlow), logits_of(model)
    shape = model.shapes.get(output)
    if shape is None or len(shape) not in (2, 3):
        raise OptionError(
            f"the first output '{output}' {list(shape or ())} holds neither class scores nor logits of tokens",
            "name a tensor of logits with the option representation, or take layer-cka",
        )
    node = flow.nodes[flow.producer[output]] if output in flow.producer else None
    if node is not None and node.op == "Softmax" and node.attrs.get("axis", -1) in (-1, len(shape) - 1):
        before = flow.producer_input(output)
        owner = {name for block in blocks for name in block.nodes}
        if before in flow.producer and flow.producer[before] not in owner:
            return Representation(before, "last")
    return Representation(output, "last")


def _named(flow: DataFlow, owner: dict[str, Block], name: str) -> Representation:
    producer = flow.producer.get(name)
    if producer is None:
        raise OptionError(f"there is no computed tensor '{name}'", "see the node outputs with graphprune inspect -v")
    inside = owner.get(producer)
    if inside is not None and inside.exit != name:
        raise OptionError(f"tensor '{name}' lies inside the removable block {inside.name}", "name one between blocks")
    return Representation(name, _layout(flow, name))


def _behind(flow: DataFlow, owner: dict[str, Block], output: str) -> Representation:
    """Walk back from an output to the last layer; an unbroken chain of single inputs leads there."""
    tensor = output
    while tensor in flow.producer:
        node = flow.nodes[flow.producer[tensor]]
        if node.name in owner or any(is_weighted(inner) for inner in with_bodies(node) if inner is not node):
            break
        reads = flow.data_reads(node.name)
        if is_weighted(node):
            return _unflattened(flow, owner, reads[0], "channels" if "Conv" in node.op else "last")
        if len(set(reads)) != 1:
            break
        tensor = reads[0]
    return Representation(output, _layout(flow, output))


def _unflattened(
    flow: DataFlow, owner: dict[str, Block], tensor: str, layout: Literal["channels", "last"]
) -> Representation:
    """Undo a flattening of channels and positions: pooled channels say the same with fewer features.

    Behind a Transpose the channels are somewhere else, and a map of one position needs no pooling.
    """
    before = tensor
    while before in flow.producer and flow.nodes[flow.producer[before]].op in _PASS_THROUGH:
        before = flow.producer_input(before)
    shape, producer = flow.model.shapes.get(before), flow.producer.get(before)
    if before == tensor or shape is None or len(shape) != 4 or producer is None or producer in owner:
        return Representation(tensor, layout)
    if flow.nodes[producer].op == "Transpose" or shape[2:] == (1, 1):
        return Representation(tensor, layout)
    return Representation(before, "channels")


def _layout(flow: DataFlow, tensor: str) -> Literal["channels", "last"]:
    shape = flow.model.shapes.get(tensor)
    return "channels" if shape is not None and len(shape) >= 4 else "last"
