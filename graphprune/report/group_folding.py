"""A long network drawn short: layers and groups that differ by a number in their names alone are one, with a count."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import networkx as nx

if TYPE_CHECKING:
    from graphprune.analysis.group_graph import Vertex
    from graphprune.report.inspection import GroupInspection, GroupRow

LONG = 40
"""With more layers than that, those alike are drawn once."""

_INDEX = re.compile(r"(?<![A-Za-z0-9_])\d+(?![A-Za-z0-9_])")  # layers.3.mlp, but not conv1 or Conv_12


def pattern(name: str) -> str:
    """``name`` with a star for each number that stands alone: ``layers.*.mlp``."""
    return _INDEX.sub("*", name)


def folded(inspection: GroupInspection) -> GroupInspection:
    """The same with one row, and one op, for all that are alike: ``layers.*.mlp/neurons x12``, of which MACs and
    parameters are the sums. The same where nothing is.
    """
    ops, groups = _alike_ops(inspection.graph), _alike_groups(inspection.rows)
    first: dict[Vertex, Vertex] = {("op", name): ("op", alike[0]) for alike in ops for name in alike}
    first |= {("group", name): ("group", alike[0]) for alike in groups for name in alike}
    named = {row.name: row for row in inspection.rows}
    rows = tuple(_one_row([named[name] for name in alike], first) for alike in groups)
    graph = nx.DiGraph()
    labels = {name: _label(inspection.graph.nodes["op", name]["label"], len(alike)) for alike in ops for name in alike}
    for vertex, facts in inspection.graph.nodes(data=True):
        if vertex[0] == "op" and first[vertex] == vertex:
            graph.add_node(vertex, **facts | {"label": labels[vertex[1]]})
    shown = {alike[0]: row.name for alike, row in zip(groups, rows, strict=True)}

    def place(vertex: Vertex) -> Vertex:
        one = first.get(vertex, vertex)
        return ("group", shown[one[1]]) if one[0] == "group" else one

    for tail, head in inspection.graph.edges:
        is_of_another = tail[0] == "weight" and first.get(head, head) != head
        if not is_of_another:
            graph.add_edge(place(tail), place(head))
    for vertex, facts in inspection.graph.nodes(data=True):
        if vertex[0] == "weight" and vertex in graph:
            graph.nodes[vertex].update(facts)
    return replace(inspection, rows=rows, graph=graph)


def _alike_ops(graph: nx.DiGraph) -> list[list[str]]:
    """Layers by what they are: name but for numbers, operator, shapes of the weights."""
    found: dict[object, list[str]] = defaultdict(list)
    ops = [(facts["order"], vertex[1], facts) for vertex, facts in graph.nodes(data=True) if vertex[0] == "op"]
    for _, name, facts in sorted(ops, key=lambda op: op[0]):
        weights = [vertex for vertex in graph.predecessors(("op", name)) if vertex[0] == "weight"]
        shapes = tuple(tuple(graph.nodes[weight]["shape"]) for weight in weights)
        found[pattern(facts["label"]), facts["kind"], facts["reason"], shapes].append(name)
    return list(found.values())


def _alike_groups(rows: Iterable[GroupRow]) -> list[list[str]]:
    found: dict[object, list[str]] = defaultdict(list)
    for row in rows:
        what = (row.kind, row.size, row.unit_channels, row.prunable, pattern(row.reason))
        found[pattern(row.name), what].append(row.name)
    return list(found.values())


def _one_row(alike: list[GroupRow], first: dict[Vertex, Vertex]) -> GroupRow:
    def once(names: Iterable[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(first.get(("op", name), ("op", name))[1] for name in names))

    row = alike[0]
    return replace(
        row,
        name=_label(row.name, len(alike)),
        macs=sum(each.macs for each in alike),
        params=sum(each.params for each in alike),
        writers=once(name for each in alike for name in each.writers),
        readers=once(name for each in alike for name in each.readers),
    )


def _label(name: str, count: int) -> str:
    return f"{pattern(name)} \N{MULTIPLICATION SIGN}{count}" if count > 1 else name
