"""Residual blocks in the bodies of If, Loop and Scan: they are found as elsewhere, and stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from graphprune.analysis.blocks import Join, find_joins
from graphprune.analysis.refusals import Refusal
from graphprune.ir.bodies import bodies, scopes
from graphprune.ir.model import Model


def blocks_in_bodies(model: Model, sizes: Mapping[str, tuple[int, ...]]) -> list[Join]:
    """The joins that would close a removable block if they did not lie in a body, each with that as its refusal."""
    found: list[Join] = []
    for holder in (node for scope in scopes(model.graph) for node in scope.nodes):
        for body in bodies(holder):
            why = Refusal("control-flow", f"it lies in a body of {holder.name} ({holder.op}), where units can go alone")
            inside = find_joins(replace(model, graph=body), sizes)
            found += [replace(join, block=None, refusal=why, stage=-1) for join in inside if join.block]
    return found
