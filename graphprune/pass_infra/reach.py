"""Which groups a pass can get at: those in the bodies of If, Loop and Scan not always."""

from __future__ import annotations

from graphprune.analysis.groups import Group
from graphprune.ir.bodies import owners
from graphprune.ir.model import Model
from graphprune.pass_infra.context import Context
from graphprune.validation.branches import choices_to, described, runs


def unreachable(context: Context, group: Group, *, needs_activations: bool) -> str:
    """Why ``group`` stays whole though it could be cut; empty where it need not."""
    model = context.model
    layers = sorted({*group.writers, *group.readers} & model.derived(_in_bodies))
    if layers and needs_activations:
        return "they lie in the body of an If, Loop or Scan, where no activations can be read"
    paths, known, how = model.derived(choices_to), model.derived(_known_runs), context.execution
    for choices in (paths[name] for name in layers if name in paths):
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
