"""Residual blocks: every join of a network, and whether the branch that ends there can be removed.

A join is a sum (Add, Sum, Mean, SkipLayerNormalization) of computed tensors. It closes a removable block when one
operand, the *entry*, or what the entry adds up or scales, is an ancestor of the others, the *branches*, and the nodes
between them serve nobody else: in the reversed flow they are dominated by the branch operands of the join (single
exit), but for a norm that several branches share, which stays with the others. Everything in there that carries weights
descends from the entry (single entry; masks, positions and encoder states may come from elsewhere). Entry and exit have
the same shape. Removing the block lets the readers of its exit read its entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import onnx_graphsurgeon as gs

from graphprune.analysis.block_cache import own_cache
from graphprune.analysis.block_entries import joined, sources, total_of
from graphprune.analysis.block_exits import find_tail
from graphprune.analysis.dataflow import DataFlow, is_weighted
from graphprune.analysis.names import block_labels
from graphprune.analysis.partial_shortcuts import find_partial
from graphprune.analysis.refusals import Refusal, is_scalar_arithmetic, leak, no_shortcut, second_entry
from graphprune.decoder.interface import CacheTensor
from graphprune.ir.model import Model, Shape

_NO_STAGE = {"arithmetic", "no-shortcut"}


@dataclass(frozen=True)
class Block:
    """A removable residual block.

    ``nodes`` leave with it: the branch (``layers`` are its weighted nodes), the join and the tail behind the join.
    ``branches`` are the operands (node, index) that it ends in, most often of the join. ``is_exact`` tells that
    silencing them alone leaves the entry at the exit; see :mod:`graphprune.analysis.block_exits`. With ``keeps_join``
    the join is a norm as well (SkipLayerNormalization): it stays, and normalises the entry. ``pads`` are the zeros, as
    ONNX's Pad lists them, that make as wide as the exit an entry that is narrower; empty for others. ``cache`` are
    the keys and values of a decoder that nobody needs without the block. ``parts`` are blocks one behind the other that
    are one candidate, with the join and the exit of the last; empty for a block by itself.
    """

    name: str
    join: str
    branches: tuple[tuple[str, int], ...]
    entry: str
    exit: str
    nodes: tuple[str, ...]
    layers: tuple[str, ...]
    context: tuple[str, ...]
    is_exact: bool
    keeps_join: bool = False
    pads: tuple[int, ...] = ()
    cache: tuple[CacheTensor, ...] = ()
    parts: tuple[Block, ...] = ()

    @property
    def pieces(self) -> tuple[Block, ...]:
        """What is to be removed one by one: its parts, or itself."""
        return self.parts or (self,)


@dataclass(frozen=True)
class Join:
    """One sum of computed tensors, in execution order, with its block or the refusal."""

    node: str
    output: str
    shape: Shape | None
    block: Block | None
    refusal: Refusal | None
    stage: int = -1

    @property
    def name(self) -> str:
        return self.block.name if self.block else self.node


def find_joins(
    model: Model, sizes: Mapping[str, tuple[int, ...]] | None = None, *, is_body: bool = False
) -> list[Join]:
    """Every join of the model's graph in execution order.

    ``sizes`` are concrete tensor shapes, consulted where symbolic shapes cannot tell entry from exit. With ``is_body``
    the graph is the body of an If, Loop or Scan.
    """
    flow = DataFlow(model, is_body=True) if is_body else model.derived(DataFlow)
    joins: list[Join] = []
    for node in model.graph.nodes:
        operands = joined(node)
        if not operands:
            continue
        output = total_of(flow, node)
        found = _classify(flow, node, operands, sizes or {})
        block, refusal = (found, None) if isinstance(found, Block) else (None, found)
        joins.append(Join(node.name, output, _known_shape(model, sizes or {}, output), block, refusal))
    return _number_stages(_label(flow, _refuse_containers(joins)))


def _classify(
    flow: DataFlow, node: gs.Node, operands: tuple[int, ...], sizes: Mapping[str, tuple[int, ...]]
) -> Block | Refusal:
    names = [tensor.name for tensor in node.inputs]
    is_plain = len({names[operand] for operand in operands}) == len(operands)
    for is_far in (False, True) if is_plain else ():
        for entry in reversed(operands):
            branches = tuple(operand for operand in operands if operand != entry)
            for source in sources(flow, names[entry]):
                if source.is_far != is_far:
                    continue
                after_source = flow.descendants(source.tensor, until=node.name)
                if all(flow.producer.get(names[operand]) in after_source for operand in branches):
                    found = _residual(flow, node, entry, branches, after_source, sizes)
                    # far away it may as well be arithmetic, such as turning a vector by its position
                    if not is_far or (isinstance(found, Block) and found.layers):
                        return found if isinstance(found, Block) else _partial(flow, node, sizes) or found
    return _partial(flow, node, sizes) or no_shortcut(flow, node, operands)


def _partial(flow: DataFlow, node: gs.Node, sizes: Mapping[str, tuple[int, ...]]) -> Block | None:
    """The block of a shortcut that is narrower than what it joins."""
    part = find_partial(flow, node, lambda tensor: _known_shape(flow.model, sizes, tensor))
    if part is None:
        return None
    after_entry = flow.descendants(part.entry, until=part.join)
    join, first = flow.nodes[part.join], min(flow.order[name] for name in after_entry)
    ends = [flow.nodes[name].inputs[operand].name for name, operand in part.branches]
    path = after_entry & set().union(*(flow.ancestors(end, since=first) for end in ends))
    interior = flow.exclusive(part.join, range(len(join.inputs))) - flow.ancestors(part.entry)
    nodes = sorted({*interior, part.join}, key=flow.order.__getitem__)
    gone = {tensor.name for name in interior for tensor in flow.nodes[name].outputs}
    is_alone = leak(flow, path, interior, node.name) is None and not gone & (flow.read_by_subgraphs | flow.outputs)
    if not is_alone or second_entry(flow, path, interior, after_entry, node.name) is not None:
        return None
    context = {name for member in interior for name in flow.data_reads(member)} - gone - {part.entry}
    return Block(
        name=node.name,
        join=node.name,
        branches=part.branches,
        entry=part.entry,
        exit=part.exit,
        nodes=tuple(nodes),
        layers=tuple(name for name in nodes if is_weighted(flow.nodes[name])),
        context=tuple(sorted(context)),
        is_exact=True,
        pads=part.pads,
    )


def _residual(
    flow: DataFlow,
    node: gs.Node,
    entry_operand: int,
    branches: tuple[int, ...],
    after_source: set[str],
    sizes: Mapping[str, tuple[int, ...]],
) -> Block | Refusal:
    entry, output = node.inputs[entry_operand].name, total_of(flow, node)
    first = min(flow.order[name] for name in after_source)
    paths = [flow.ancestors(node.inputs[operand].name, since=first) for operand in branches]
    path = after_source & set().union(*paths)
    if all(is_scalar_arithmetic(flow.nodes[name]) for name in path):
        return Refusal("arithmetic", f"{node.name} is arithmetic of one activation function, not a layer")
    shapes = [_known_shape(flow.model, sizes, name) for name in (entry, output)]
    if not _same_shape(flow.model, sizes, entry, output):
        what = "has unknown shapes" if None in shapes else f"turns {_text(shapes[0])} into {_text(shapes[1])}"
        return Refusal("residual-shape", f"{node.name} {what}, so its readers cannot read the block's input instead")
    interior = flow.exclusive(node.name, branches)
    refusal = leak(flow, path, interior, node.name) or second_entry(flow, path, interior, after_source, node.name)
    if refusal is not None:
        return refusal
    cache = own_cache(flow, interior, node.name)
    if isinstance(cache, Refusal):
        return cache
    tail = find_tail(flow, node.name, entry)
    members = {*interior, *tail.nodes} | (set() if tail.keeps_join else {node.name})
    nodes = sorted(members, key=flow.order.__getitem__)
    gone = {tensor.name for name in nodes for tensor in flow.nodes[name].outputs}
    if gone & flow.read_by_subgraphs:
        return Refusal("control-flow", f"a subgraph (If, Loop or Scan) reads from the block of {node.name}")
    if tail.exit in flow.outputs and entry in flow.read_by_subgraphs:
        return Refusal("control-flow", f"a subgraph (If, Loop or Scan) reads {entry}, which {tail.exit} would replace")
    is_border = tail.exit in flow.outputs and not tail.keeps_join and not flow.is_body
    if is_border and (entry in flow.outputs or entry in flow.inputs):
        return Refusal("graph-output", f"{tail.exit} is an output of the model and {entry} an input or output")
    context = {name for member in interior for name in flow.data_reads(member)} - gone - {entry}
    return Block(
        name=node.name,
        join=node.name,
        branches=tuple((node.name, operand) for operand in branches),
        entry=entry,
        exit=tail.exit,
        nodes=tuple(nodes),
        layers=tuple(name for name in nodes if is_weighted(flow.nodes[name])),
        context=tuple(sorted(context)),
        is_exact=tail.is_exact,
        keeps_join=tail.keeps_join,
        cache=cache,
    )


def _known_shape(model: Model, sizes: Mapping[str, tuple[int, ...]], tensor: str) -> Shape | None:
    symbolic = model.shapes.get(tensor)
    is_known = symbolic is not None and all(isinstance(dim, int) for dim in symbolic)
    return symbolic if is_known else sizes.get(tensor, symbolic)


def _same_shape(model: Model, sizes: Mapping[str, tuple[int, ...]], first: str, second: str) -> bool:
    one, two = model.shapes.get(first), model.shapes.get(second)
    if one is not None and one == two and None not in one:
        return True
    return first in sizes and sizes[first] == sizes.get(second)


def _text(shape: Shape | None) -> str:
    return "[" + ",".join("?" if dim is None else str(dim) for dim in shape or ()) + "]"


def _refuse_containers(joins: list[Join]) -> list[Join]:
    """A block that holds other removable blocks is a long skip connection, not a layer."""
    removable = {join.node for join in joins if join.block}
    out: list[Join] = []
    for join in joins:
        inner = removable & set(join.block.nodes) - {join.node} if join.block else set()
        if inner:
            reason = f"{join.node} closes a long skip around {len(inner)} removable blocks"
            join = replace(join, block=None, refusal=Refusal("contains-blocks", reason))
        out.append(join)
    return out


def _label(flow: DataFlow, joins: list[Join]) -> list[Join]:
    labels = block_labels(flow, {join.node: join.block.nodes for join in joins if join.block})
    return [replace(join, block=replace(join.block, name=labels[join.node])) if join.block else join for join in joins]


def _number_stages(joins: list[Join]) -> list[Join]:
    """A stage is a run of consecutive residual joins with one output shape, the names of free dimensions aside.

    What is added inside a block (masks, rotated positions) is not on the residual stream.
    """
    within = {name for join in joins if join.block for name in join.block.nodes if name != join.block.join}
    stage = -1
    shape: tuple[int | None, ...] | None = None
    out: list[Join] = []
    for join in joins:
        if join.refusal is None or (join.refusal.rule not in _NO_STAGE and join.node not in within):
            sizes = None if join.shape is None else tuple(dim if isinstance(dim, int) else None for dim in join.shape)
            if stage < 0 or sizes != shape:
                stage, shape = stage + 1, sizes
            join = replace(join, stage=stage)
        out.append(join)
    return out
