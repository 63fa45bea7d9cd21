"""A network cut into segments: parts of the computation, each a model of its own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from graphprune.analysis.blocks import Block
from graphprune.analysis.dataflow import DataFlow


@dataclass(frozen=True)
class Part:
    """Nodes that are to run together, in this order; ``block`` is the candidate block that they are."""

    nodes: tuple[str, ...]
    block: Block | None = None


@dataclass(frozen=True)
class Segment(Part):
    """A part with the tensors that enter it and those that others, or whoever asks, need of it."""

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


def partition(flow: DataFlow, parts: Sequence[Part], targets: Collection[str]) -> list[Segment]:
    """One segment for each of ``parts``, of which no two share a node; ``targets`` are the tensors that are asked for.

    What no part holds is not run: nobody reads for it, and what it writes must be handed in.
    """
    place = {name: index for index, part in enumerate(parts) for name in part.nodes}
    segments = []
    for index, part in enumerate(parts):
        read = dict.fromkeys(tensor for name in part.nodes for tensor in flow.data_reads(name))
        written = [tensor.name for name in part.nodes for tensor in flow.nodes[name].outputs if tensor.name]
        wanted = {
            tensor
            for tensor in written
            if tensor in targets or any(place.get(reader, index) != index for reader in flow.readers.get(tensor, ()))
        }
        segments.append(
            Segment(
                nodes=part.nodes,
                block=part.block,
                reads=tuple(tensor for tensor in read if place.get(flow.producer.get(tensor, "")) != index),
                writes=tuple(tensor for tensor in written if tensor in wanted),
            )
        )
    return segments
