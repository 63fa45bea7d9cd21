"""Questions about models that change nothing: what could go, what shrinks together, and which of two is faster."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import onnx_graphsurgeon as gs

from graphprune.analysis.cost import Cost, node_macs, parameters, part_cost
from graphprune.analysis.dataflow import DataFlow
from graphprune.analysis.group_graph import group_graph
from graphprune.analysis.groups import Group
from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.analysis.names import layer_path
from graphprune.analysis.roles import weight_axes
from graphprune.analysis.unit_cost import UnitCost
from graphprune.axes import algebra
from graphprune.ir.quantised import ROUNDING
from graphprune.model_folder import layout
from graphprune.report.inspection import GroupInspection, GroupRow, Inspection, JoinRow, MissingRow
from graphprune.run.loaded import Source, check_source, prepare
from graphprune.run.notes import texts_of
from graphprune.run.options import RunOptions, given_options


def inspect(
    source: Source, data: Any = None, *, groups: bool = False, options: RunOptions | None = None
) -> Inspection | GroupInspection:
    """What could go of a model, and what cannot and why; the same as ``graphprune inspect SOURCE``.

    ``source`` may be a folder with a model in it. With ``groups`` what shrinks together. ``data`` only gives the shapes
    of the inputs.

    Raises
    ------
    GraphpruneError
        The model or the data cannot be read.
    """
    check_source(source)
    ask = inspect_groups if groups else inspect_model
    model = layout.model_file(Path(source)) if layout.is_folder(source) else source
    found: Inspection | GroupInspection = ask(model, data, given_options(options))
    return found


def inspect_model(source: Source, data: Any, options: RunOptions) -> Inspection:
    """Load ``source`` and list its joins, those in bodies last; ``data`` only gives the input shape."""
    loaded = prepare(source, data, options)
    rows = []
    for join in loaded.analysis.all_joins:
        block, refusal = join.block, join.refusal
        nodes = block.nodes if block else (join.node,)
        cost = part_cost(loaded.model, nodes, loaded.analysis.sizes)
        rows.append(
            JoinRow(
                name=join.name,
                join=join.node,
                stage=join.stage,
                nodes=nodes,
                context=block.context if block else (),
                macs=cost.macs,
                params=cost.params,
                rule=refusal.rule if refusal else "",
                reason=refusal.reason if refusal else "",
            )
        )
    return Inspection(str(source), loaded.analysis.cost, tuple(rows), texts_of(loaded.notes))


def inspect_groups(source: Source, data: Any, options: RunOptions) -> GroupInspection:
    """Load ``source`` and list its groups; ``data`` only gives the input shape."""
    loaded = prepare(source, data, options)
    model, analysis = loaded.model, loaded.analysis
    options.progress("typing axes", 0, 0)
    flow, cost = analysis.flow, analysis.typed_cost()
    rows = [_group_row(group, flow, cost, analysis) for group in analysis.groups]
    missing = [MissingRow(row.op, row.node, row.effect) for row in analysis.typing.missing]
    graph = group_graph(model, analysis.typing, analysis.groups)
    return GroupInspection(str(source), analysis.cost, tuple(rows), tuple(missing), graph, texts_of(loaded.notes))


def _group_row(group: Group, flow: DataFlow, cost: UnitCost, analysis: ModelAnalysis) -> GroupRow:
    unit = cost.unit_saving(group.atom) if group.is_prunable else None
    whole = cost.saving(group.atom, 0) if group.is_prunable else _frozen_cost(group, flow, analysis)
    node = group.freeze.node if group.freeze else ""
    return GroupRow(
        name=group.name,
        kind=group.kind,
        size=group.size,
        unit_channels=group.unit_channels,
        prunable=group.is_prunable,
        macs=whole.macs,
        params=whole.params,
        unit_macs=unit.macs if unit else None,
        unit_params=unit.params if unit else None,
        writers=group.writers,
        readers=group.readers,
        reason=group.freeze.reason if group.freeze else "",
        node=node,
        module=".".join(layer_path(flow, node)) if node in flow.all_nodes and not node.startswith("/") else "",
    )


def _frozen_cost(group: Group, flow: DataFlow, analysis: ModelAnalysis) -> Cost:
    """What has an axis of a group that cannot shrink: of that, :class:`UnitCost` keeps no account.

    Of each weight and of its layer's MACs the share that lies along the group's axes.
    """
    none = {group.atom: 0}
    macs, params = 0, {}
    for name, operand in dict.fromkeys((use.node, use.operand) for use in group.uses):
        node, axes = flow.all_nodes[name], analysis.typing.constants[name, operand]
        whole = prod(map(algebra.size_of, axes))
        gone = whole - prod(algebra.size_of(axis, none) for axis in axes)
        macs += sum(node_macs(layer, analysis.sizes) * gone // whole for layer in _layers(node, operand))
        if held := parameters(node.inputs[operand]):
            params[node.inputs[operand].name] = gone * held // whole
    return Cost(macs, sum(params.values()))


def _layers(node: gs.Node, operand: int) -> Iterator[gs.Node]:
    """The layers that have as weights what is read there, at once or behind its dequantisation."""
    if node.op in ROUNDING and not operand:
        made = node.outputs[0]
        for reader in {id(reader): reader for reader in made.outputs}.values():
            for index in (index for index, tensor in enumerate(reader.inputs) if tensor is made):
                yield from _layers(reader, index)
    elif operand in {place.operand for place in weight_axes(node)}:
        yield node
