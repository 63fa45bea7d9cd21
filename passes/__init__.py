"""The passes that come with graphprune, one file each, and how third-party ones are found.

This folder is imported as ``graphprune.passes`` and under no other name; packages add passes through the entry-point
group ``graphprune.passes`` (entry name = pass name, value = ``module:Class``).
"""

from __future__ import annotations

import importlib
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from graphprune.base.did_you_mean import meant
from graphprune.errors import OptionError

if TYPE_CHECKING:
    from graphprune.pass_infra.base import Pass

if __name__ != "graphprune.passes":
    raise ImportError(f"import graphprune.passes, not {__name__}: a second copy would hold a second set of classes")

_GROUP = "graphprune.passes"
_BUILT_IN = {
    "layer-cka": "graphprune.passes.layer_cka:LayerCKA",
    "layer-kl": "graphprune.passes.layer_kl:LayerKL",
    "layer-pls": "graphprune.passes.layer_pls:LayerPLS",
    "layer-angular": "graphprune.passes.layer_angular:LayerAngular",
    "layer-consensus": "graphprune.passes.layer_consensus:LayerConsensus",
    "linearise": "graphprune.passes.linearise:Linearise",
    "filter-magnitude": "graphprune.passes.filter_magnitude:FilterMagnitude",
    "layer-magnitude": "graphprune.passes.layer_magnitude:LayerMagnitude",
    "filter-cka": "graphprune.passes.filter_cka:FilterCKA",
    "filter-kl": "graphprune.passes.filter_kl:FilterKL",
    "filter-obs": "graphprune.passes.filter_obs:FilterOBS",
    "filter-pls-vip": "graphprune.passes.filter_pls_vip:FilterPLSVIP",
    "layer-ticket": "graphprune.passes.layer_ticket:LayerTicket",
    "filter-ticket": "graphprune.passes.filter_ticket:FilterTicket",
    "head-projection": "graphprune.passes.head_projection:HeadProjection",
    "neuron-projection": "graphprune.passes.neuron_projection:NeuronProjection",
    "expert-use": "graphprune.passes.expert_use:ExpertUse",
    "joint-cka": "graphprune.passes.joint_cka:JointCKA",
    "amp": "graphprune.passes.amp:AMP",
    "mop": "graphprune.passes.mop:MoP",
    "allocate": "graphprune.passes.allocate:Allocate",
}


def names() -> list[str]:
    """Every pass name, the built-in ones first."""
    return [*_BUILT_IN, *(name for name in _third_party() if name not in _BUILT_IN)]


def find(name: str) -> type[Pass]:
    """The class of a pass; underscores and capitals, as in its module and class, are no other name.

    Raises
    ------
    OptionError
        No pass has that name, or the package that offers it fails to import.
    """
    from graphprune.pass_infra.base import Pass

    third_party = _third_party()
    name = {_letters(each): each for each in (*third_party, *_BUILT_IN)}.get(_letters(name), name)
    target = _BUILT_IN.get(name) or (third_party[name].value if name in third_party else None)
    if target is None:
        listed = f"the passes are: {', '.join(names())}"
        several = f"give --pass for each of several; {listed}" if "," in name else listed
        raise OptionError(f"there is no pass '{name}'{meant(name, names())}", several)
    module, _, attribute = target.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise OptionError(f"pass '{name}' cannot be imported from {target} ({error})", "repair its package") from None
    if not (isinstance(found, type) and issubclass(found, Pass) and found.name == name):
        raise OptionError(f"{target} is not a pass named '{name}'", "repair its package")
    return found


def _letters(name: str) -> str:
    return name.replace("-", "").replace("_", "").lower()


def _third_party() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=_GROUP)}
