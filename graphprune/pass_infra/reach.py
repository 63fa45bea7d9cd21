"""Which groups and blocks a pass can get at: those in the bodies of If, Loop and Scan not always."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from graphprune.analysis.blocks import Join
from graphprune.analysis.groups import Group
from graphprune.analysis.refusals import Refusal
from graphprune.ir.bodies import owners
from graphprune.ir.model import Model
from graphprune.pass_infra.context import Context
from graphprune.validation.branches import choices_to, described, runs

_NO_ACTIVATIONS = "they lie in the body of an If, Loop or Scan, where no activations can be read"


def unreachable(context: Context, group: Group, *, needs_activations: bool) -> str:
    """Why ``group`` stays whole though it could be cut; empty where it need not."""
    layers = sorted({*group.writers, *group.readers} & context.model.derived(_in_bodies))
    if layers and needs_activations:
        return _NO_ACTIVATIONS
    return _unchecked(context, layers)


def joins_in_reach(context: Context, *, needs_activations: bool) -> tuple[list[Join], list[str]]:
    """All residual joins, those in bodies last, and notes on the blocks there that stay for this pass.

    ``needs_activations`` tells that the pass looks at what enters and leaves a block.
    """
    found, stay = list(context.joins), defaultdict[str, list[str]](list)
    for join in context.analysis.body_joins:
        if join.block:
            why = _NO_ACTIVATIONS if needs_activations else _unchecked(context, [join.node])
            if why:
                stay[why].append(join.name)
                join = replace(join, block=None, refusal=Refusal(f"in a body ({why})", why))
        found.append(join)
    return found, [f"left whole, for {why}: {', '.join(names)}" for why, names in stay.items()]


def _unchecked(context: Context, nodes: Iterable[str]) -> str:
    """Why a cut in ``nodes`` could not be checked; empty where it could."""
    model, how = context.model, context.execution
    paths, known = model.derived(choices_to), model.derived(_known_runs)
    for choices in (paths[name] for name in nodes if name in paths):
        key = tuple(choices.items())
        if key not in known:
            known[key] = runs(model, choices, context.data, how.batch, how.runtime)
        if not known[key]:
            return f"none of the samples runs in {described(choices)}, so a cut there could not be checked"
    return ""


def _in_bodies(model: Model) -> set[str]:
    return set(owners(model.graph))


def _known_runs(model: Model) -> dict[tuple[tuple[str, bool], ...], bool]:
    """Whether samples run where choices lead, for those asked for so far: none, at first."""
    return {}
