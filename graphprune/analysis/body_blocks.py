"""Residual blocks in the bodies of If, Loop and Scan: each body is a graph of its own.

A block may begin with what a body is given and end with what it gives; removed, it leaves a copy there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import onnx_graphsurgeon as gs

from graphprune.analysis.blocks import Join, find_joins
from graphprune.analysis.refusals import Refusal
from graphprune.ir.bodies import bodies
from graphprune.ir.model import Model


def joins_in_bodies(model: Model, sizes: Mapping[str, tuple[int, ...]], outside: Sequence[Join]) -> list[Join]:
    """The residual joins in bodies, those of a body before those of bodies in it.

    ``outside`` are the joins of the graph itself: no name and no stage is one of theirs.
    """
    taken = {join.name for join in outside}
    stages = 1 + max((join.stage for join in outside), default=-1)
    found: list[Join] = []
    for joins in _by_body(model, model.graph, sizes, outside, ""):
        for join in joins:
            if join.block and join.name in taken:
                join = replace(join, block=replace(join.block, name=f"{join.name}#{join.node}"))
            taken.add(join.name)
            found.append(replace(join, stage=stages + join.stage))
        stages += 1 + max((join.stage for join in joins), default=-1)
    return found


def _by_body(
    model: Model, graph: gs.Graph, sizes: Mapping[str, tuple[int, ...]], around: Sequence[Join], whole: str
) -> Iterator[list[Join]]:
    """Of each body in ``graph``, whose joins are ``around``; ``whole`` is the removable block that holds them all."""
    owner = {name: join.block.name for join in around if join.block for name in join.block.nodes}
    for holder in graph.nodes:
        for body in bodies(holder):
            joins = [join for join in find_joins(replace(model, graph=body), sizes, is_body=True) if join.stage >= 0]
            block = whole or owner.get(holder.name, "")
            yield [_part_of(block, join) for join in joins] if block else joins
            yield from _by_body(model, body, sizes, joins, block)


def _part_of(block: str, join: Join) -> Join:
    why = Refusal("control-flow", f"it lies in a body in {block}, which goes as a whole")
    return replace(join, block=None, refusal=why) if join.block else join
