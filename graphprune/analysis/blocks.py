"""Residual blocks: every join of a network, and whether the branch that ends there can be removed.

A join is an Add of two computed tensors. It closes a removable block when one operand, the *entry*, is an ancestor of
the other, the *branch*, and the nodes between them serve nobody else: in the reversed flow they are dominated by the
branch operand of the join (single exit), and everything in there that carries weights descends from the entry (single
entry; masks, positions and encoder states may come from elsewhere). Entry and exit have the same shape. Removing the
block lets the readers of its exit read its entry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import onnx_graphsurgeon as gs

from graphprune.analysis.block_exits import find_tail
from graphprune.analysis.dataflow import DataFlow, is_weighted
from graphprune.analysis.names import block_labels
from graphprune.ir.model import Model, Shape

_ARITHMETIC = {
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Pow",
    "Sqrt",
    "Tanh",
    "Erf",
    "Sigmoid",
    "Exp",
    "Neg",
    "Relu",
    "Cast",
    "Log",
    "Abs",
}
_NO_STAGE = {"arithmetic", "no-shortcut"}
_PROJECTION_MAX_NODES = 16
_RESHAPES_SHORTCUT = {"Slice", "Pad", "AveragePool", "MaxPool"}


@dataclass(frozen=True)
class Refusal:
    """Why a join cannot be removed: the rule's name and a sentence with the nodes concerned."""

    rule: str
    reason: str


@dataclass(frozen=True)
class Block:
    """A removable residual block.

    ``nodes`` leave with it: the branch (``layers`` are its weighted nodes), the join and the tail behind the join.
    ``is_exact`` tells that silencing the branch alone leaves the entry at the exit; see ``tails``.
    """

    name: str
    join: str
    branch: str
    branch_operand: int
    entry: str
    exit: str
    nodes: tuple[str, ...]
    layers: tuple[str, ...]
    context: tuple[str, ...]
    is_exact: bool


@dataclass(frozen=True)
class Join:
    """One Add of two computed tensors, in execution order, with its block or the refusal."""

    node: str
    output: str
    shape: Shape | None
    block: Block | None
    refusal: Refusal | None
    stage: int = -1

    @property
    def name(self) -> str:
        return self.block.name if self.block else self.node


def find_joins(model: Model, sizes: Mapping[str, tuple[int, ...]] | None = None) -> list[Join]:
    """Every join of the model in execution order.

    ``sizes`` are concrete tensor shapes, consulted where symbolic shapes cannot tell entry from exit.
    """
    flow = model.derived(DataFlow)
    joins: list[Join] = []
    for node in model.graph.nodes:
        if node.op not in ("Add", "Sum") or len(flow.data_reads(node.name)) != 2 or len(node.inputs) != 2:
            continue
        output = node.outputs[0].name
        found = _classify(flow, node, sizes or {})
        block, refusal = (found, None) if isinstance(found, Block) else (None, found)
        joins.append(Join(node.name, output, _known_shape(model, sizes or {}, output), block, refusal))
    return _number_stages(_label(flow, _refuse_containers(joins)))


def _classify(flow: DataFlow, node: gs.Node, sizes: Mapping[str, tuple[int, ...]]) -> Block | Refusal:
    for operand in (0, 1):
        entry, branch = node.inputs[1 - operand].name, node.inputs[operand].name
        if entry == branch:
            break
        for source in _sources(flow, entry):
            after_source = flow.descendants(source, until=node.name)
            if flow.producer.get(branch) in after_source:
                return _residual(flow, node, operand, after_source, sizes)
    return _no_shortcut(flow, node)


def _sources(flow: DataFlow, entry: str) -> Iterator[str]:
    """Where a branch beside ``entry`` may begin: at the entry, or at what the entry adds up, as in ``(x + a) + b``."""
    yield entry
    maker = flow.maker(entry)
    if maker is not None and maker.op == "Add":
        yield from flow.data_reads(maker.name)


def _residual(
    flow: DataFlow, node: gs.Node, operand: int, after_source: set[str], sizes: Mapping[str, tuple[int, ...]]
) -> Block | Refusal:
    entry, branch, output = node.inputs[1 - operand].name, node.inputs[operand].name, node.outputs[0].name
    first = min(flow.order[name] for name in after_source)
    path = after_source & flow.ancestors(branch, since=first)
    if all(_is_scalar_arithmetic(flow.nodes[name]) for name in path):
        return Refusal("arithmetic", f"{node.name} is arithmetic of one activation function, not a layer")
    shapes = [_known_shape(flow.model, sizes, name) for name in (entry, output)]
    if not _same_shape(flow.model, sizes, entry, output):
        what = "has unknown shapes" if None in shapes else f"turns {_text(shapes[0])} into {_text(shapes[1])}"
        return Refusal("residual-shape", f"{node.name} {what}, so its readers cannot read the block's input instead")
    interior = flow.exclusive(node.name, operand)
    leak = _leak(flow, path, interior, node.name)
    if leak is not None:
        return leak
    foreign = [name for name in interior - path if is_weighted(flow.nodes[name]) and name not in after_source]
    if foreign:
        stranger = min(foreign, key=flow.order.__getitem__)
        return Refusal(
            "second-entry", f"the branch of {node.name} also holds {stranger}, which does not come from its entry"
        )
    tail = find_tail(flow, node.name, entry)
    nodes = sorted({*interior, node.name, *tail.nodes}, key=flow.order.__getitem__)
    gone = {tensor.name for name in nodes for tensor in flow.nodes[name].outputs}
    if gone & flow.read_by_subgraphs:
        return Refusal("control-flow", f"a subgraph (If, Loop or Scan) reads from the block of {node.name}")
    if tail.exit in flow.outputs and entry in flow.read_by_subgraphs:
        return Refusal("control-flow", f"a subgraph (If, Loop or Scan) reads {entry}, which {tail.exit} would replace")
    if tail.exit in flow.outputs and (entry in flow.outputs or entry in flow.inputs):
        return Refusal("graph-output", f"{tail.exit} is an output of the model and {entry} an input or output")
    context = {name for member in interior for name in flow.data_reads(member)} - gone - {entry}
    return Block(
        name=node.name,
        join=node.name,
        branch=branch,
        branch_operand=operand,
        entry=entry,
        exit=tail.exit,
        nodes=tuple(nodes),
        layers=tuple(name for name in nodes if is_weighted(flow.nodes[name])),
        context=tuple(sorted(context)),
        is_exact=tail.is_exact,
    )


def _leak(flow: DataFlow, path: set[str], interior: set[str], join: str) -> Refusal | None:
    """The first tensor of the branch that something outside the block reads."""
    for name in sorted(path - interior, key=flow.order.__getitem__):
        for tensor in flow.nodes[name].outputs:
            if tensor.name in flow.outputs:
                return Refusal("graph-output", f"{tensor.name}, inside the block of {join}, is an output of the model")
            inside = path | interior | {join}
            outside = [reader for reader in flow.readers.get(tensor.name, ()) if reader not in inside]
            if outside:
                return Refusal("side-reader", f"{outside[0]} reads {tensor.name} from inside the block of {join}")
    return None


def _no_shortcut(flow: DataFlow, node: gs.Node) -> Refusal:
    """Tell a projection shortcut from a plain merge of two paths."""
    sides = [flow.ancestors(tensor.name) for tensor in node.inputs]
    common = sides[0] & sides[1]
    short = min((side - common for side in sides), key=lambda side: (_layer_count(flow, side), len(side)))
    forks = [name for name in common if _feeds(flow, name, sides[0] - common) and _feeds(flow, name, sides[1] - common)]
    if not forks or not short or _layer_count(flow, short) > 1 or len(short) > _PROJECTION_MAX_NODES:
        return Refusal("no-shortcut", f"{node.name} adds two different paths; neither is the input of the other")
    ordered = sorted(short, key=flow.order.__getitem__)
    layers = [name for name in ordered if is_weighted(flow.nodes[name])]
    if layers:
        return Refusal("projection-shortcut", f"the shortcut of {node.name} goes through {layers[0]}")
    ops = dict.fromkeys(flow.nodes[name].op for name in ordered if flow.nodes[name].op in _RESHAPES_SHORTCUT)
    if not ops:
        return Refusal("no-shortcut", f"{node.name} adds two different paths; neither is the input of the other")
    return Refusal("residual-shape", f"the shortcut of {node.name} changes the shape ({' and '.join(ops)})")


def _layer_count(flow: DataFlow, nodes: set[str]) -> int:
    return sum(is_weighted(flow.nodes[name]) for name in nodes)


def _feeds(flow: DataFlow, node: str, readers: set[str]) -> bool:
    return any(reader in readers for tensor in flow.nodes[node].outputs for reader in flow.readers.get(tensor.name, ()))


def _is_scalar_arithmetic(node: gs.Node) -> bool:
    scalars = all(t._values.shape in ((), (1,), []) for t in node.inputs if isinstance(t, gs.Constant))
    return node.op in _ARITHMETIC and scalars


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
