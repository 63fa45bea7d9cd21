"""Where a network is cut: at its candidate blocks, at its layers, at given tensors, or as another network has been."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from graphprune.analysis.blocks import Block
from graphprune.analysis.dataflow import DataFlow, is_weighted
from graphprune.ir.quantised import weight_place
from graphprune.segments.partition import Part


def at_blocks(flow: DataFlow, blocks: Sequence[Block], targets: Collection[str] | None = None) -> list[Part]:
    """Each block and what lies between; in order: nodes that need no block, block 0,
    nodes that need at most block 0, ...

    With ``targets`` only what these tensors and the blocks need lies between.
    """
    ordered = sorted(blocks, key=lambda block: flow.order[block.join])
    owner = {name: index for index, block in enumerate(ordered) for name in block.nodes}
    needed = set(flow.nodes) if targets is None else _needed(flow, ordered, targets)
    level: dict[str, int] = {}
    between: list[list[str]] = [[] for _ in range(len(ordered) + 1)]
    for name in flow.nodes:  # in topological order
        before = [flow.producer[tensor] for tensor in flow.data_reads(name) if tensor in flow.producer]
        level[name] = max((owner[p] + 1 if p in owner else level[p] for p in before), default=0)
        if name not in owner and name in needed:
            between[level[name]].append(name)
    parts = [Part(tuple(between[0]))]
    for block, behind in zip(ordered, between[1:], strict=True):
        parts += [Part(block.nodes, block), Part(tuple(behind))]
    return [part for part in parts if part.nodes]


def _needed(flow: DataFlow, blocks: Sequence[Block], targets: Collection[str]) -> set[str]:
    """The nodes that must run for ``targets``, and for what enters and leaves the blocks."""
    read = {tensor for block in blocks for name in block.nodes for tensor in flow.data_reads(name)}
    needed: set[str] = set()
    for tensor in {*targets, *read, *(block.exit for block in blocks)}:
        needed |= _makers(flow, tensor, needed, ())
    return needed


def at_layers(flow: DataFlow) -> list[Part]:
    """Each layer with weights, and what follows until the next; what comes before the first is a part of its own."""
    place: dict[str, int] = {}
    members: list[list[str]] = [[]]
    for name, node in flow.nodes.items():  # in topological order
        before = [place[flow.producer[tensor]] for tensor in flow.data_reads(name) if tensor in flow.producer]
        if is_weighted(node) and any(weight_place(node, operand) for operand in range(len(node.inputs))):
            place[name] = len(members)
            members.append([])
        else:
            place[name] = max(before, default=0)
        members[place[name]].append(name)
    return [Part(tuple(nodes)) for nodes in members]


def at_stops(flow: DataFlow, stops: Sequence[Collection[str]], known: Collection[str]) -> list[Part]:
    """For each stop the nodes that must run for its tensors and have not run before; ``known`` tensors need none.

    Parts may be empty, and what no stop needs is in none.
    """
    done: set[str] = set()
    parts = []
    for stop in stops:
        wanted = set().union(*(_makers(flow, tensor, done, known) for tensor in stop))
        parts.append(Part(tuple(sorted(wanted, key=flow.order.__getitem__))))
        done |= wanted
    return parts


def _makers(flow: DataFlow, tensor: str, done: set[str], known: Collection[str]) -> set[str]:
    """The nodes not in ``done`` that must run for ``tensor``; shapes count, too."""
    found: set[str] = set()
    stack = [tensor]
    while stack:
        read = stack.pop()
        name = None if read in known else flow.producer.get(read)
        if name is not None and name not in done and name not in found:
            found.add(name)
            stack.extend(flow.data_reads(name))
    return found


def as_named(flow: DataFlow, parts: Sequence[Sequence[str]]) -> list[Part]:
    """What is left here of ``parts``, node names of a network that this one has come out of.

    Parts may be empty; nodes that are in none of them go with the last that is not.
    """
    left = [[name for name in part if name in flow.nodes] for part in parts]
    named = {name for part in left for name in part}
    next(part for part in reversed(left) if part).extend(name for name in flow.nodes if name not in named)
    return [Part(tuple(part)) for part in left]
