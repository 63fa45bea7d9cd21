"""Questions about models that change nothing: what could go, what shrinks together, and which of two is faster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

from graphprune.anatomy import Anatomy
from graphprune.axes import algebra
from graphprune.bench.registry import BenchOptions, runtime
from graphprune.bench.runtime import Measurement, measure_on
from graphprune.cost import Cost, is_parameter, node_macs, part_cost
from graphprune.data import input_specs
from graphprune.errors import ModelError
from graphprune.loading import load
from graphprune.report.inspection import GroupInspection, GroupRow, Inspection, MissingRow, Row
from graphprune.structure.group_graph import group_graph
from graphprune.structure.groups import Group
from graphprune.structure.names import layer_path
from graphprune.structure.roles import weight_axes
from graphprune.structure.view import View
from graphprune.subject import RunOptions, Source, prepare
from graphprune.typed_cost import TypedCost


def inspect_model(source: Source, data: Any, options: RunOptions) -> Inspection:
    """Load ``source`` and list its joins; ``data`` only gives the input shape."""
    subject = prepare(source, data, options)
    rows = []
    for join in subject.anatomy.joins:
        block, refusal = join.block, join.refusal
        nodes = block.nodes if block else (join.node,)
        cost = part_cost(subject.model, nodes, subject.anatomy.sizes)
        rows.append(
            Row(
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
    return Inspection(str(source), subject.anatomy.cost, tuple(rows))


def inspect_groups(source: Source, data: Any, options: RunOptions) -> GroupInspection:
    """Load ``source`` and list its groups; ``data`` only gives the input shape."""
    subject = prepare(source, data, options)
    model, anatomy = subject.model, subject.anatomy
    options.progress("typing axes", 0, 0)
    view, cost = View(model), anatomy.typed_cost()
    rows = [_group_row(group, view, cost, anatomy) for group in anatomy.groups]
    missing = [MissingRow(row.op, row.node, row.effect) for row in anatomy.typing.missing]
    graph = group_graph(model, anatomy.typing, anatomy.groups)
    return GroupInspection(str(source), anatomy.cost, tuple(rows), tuple(missing), graph)


def _group_row(group: Group, view: View, cost: TypedCost, anatomy: Anatomy) -> GroupRow:
    unit = cost.saving(group.atom, group.size - 1) if group.is_prunable else None
    whole = cost.saving(group.atom, 0) if group.is_prunable else _frozen_cost(group, view, anatomy)
    node = group.freeze.node if group.freeze else ""
    return GroupRow(
        name=group.name,
        kind=group.kind,
        size=group.size,
        prunable=group.is_prunable,
        macs=whole.macs,
        params=whole.params,
        unit_macs=unit.macs if unit else None,
        unit_params=unit.params if unit else None,
        writers=group.writers,
        readers=group.readers,
        reason=group.freeze.reason if group.freeze else "",
        node=node,
        module=".".join(layer_path(view, node)) if node in view.nodes and not node.startswith("/") else "",
    )


def _frozen_cost(group: Group, view: View, anatomy: Anatomy) -> Cost:
    """What has an axis of a group that cannot shrink: of that, :class:`TypedCost` keeps no account.

    Of each weight and of its layer's MACs the share that lies along the group's axes.
    """
    none = {group.atom: 0}
    macs, params = 0, {}
    for name, operand in dict.fromkeys((use.node, use.operand) for use in group.uses):
        node, axes = view.nodes[name], anatomy.typing.constants[name, operand]
        whole = prod(map(algebra.size_of, axes))
        gone = whole - prod(algebra.size_of(axis, none) for axis in axes)
        if operand in {place.operand for place in weight_axes(node)}:
            macs += node_macs(node, anatomy.sizes) * gone // whole
        if is_parameter(node.inputs[operand]):
            params[node.inputs[operand].name] = gone
    return Cost(macs, sum(params.values()))


def benchmark(
    original: Path,
    pruned: Path,
    data: Any,
    options: RunOptions,
    runtimes: Sequence[str] = ("ort",),
    bench: BenchOptions | None = None,
) -> list[Measurement]:
    """Time two model files on the inputs of the first, on each of ``runtimes`` in turn (``NAME`` or ``NAME:PLACE``).

    Raises
    ------
    ModelError
        The models do not take the same inputs, or a runtime cannot run one of them.
    RuntimeMissing
        A runtime is not here or does not start; all are asked before the first is timed.
    """
    chosen = [runtime(spec, options.runtime, bench) for spec in dict.fromkeys(runtimes)]
    for each in chosen:
        each.require()
    # Sizes that inference does not tell come from a run: on the CPU, whatever is timed.
    subject = prepare(original, data, replace(options, runtime=replace(options.runtime, provider="cpu")))
    other = load(pruned)
    mine, theirs = (sorted(input_specs(model), key=str) for model in (subject.model, other))
    if [(spec.name, spec.dtype) for spec in mine] != [(spec.name, spec.dtype) for spec in theirs]:
        takes = [", ".join(map(str, specs)) for specs in (mine, theirs)]
        raise ModelError(f"{original} takes {takes[0]}, {pruned} takes {takes[1]}", "compare like with like")
    feeds = subject.data.first(options.bench_batch)
    measurements = []
    for number, each in enumerate(chosen):
        options.progress(f"measuring on {each.name}", number, len(chosen))
        measurements.append(measure_on(each, original, pruned, feeds, min_seconds=options.bench_seconds))
    return measurements
