"""What is known of a model's structure, each part worked out when it is first asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

from graphprune.analysis.blocks import Join, find_joins
from graphprune.analysis.body_blocks import joins_in_bodies
from graphprune.analysis.cost import Cost, model_cost
from graphprune.analysis.dataflow import DataFlow
from graphprune.analysis.groups import Group, find_groups
from graphprune.analysis.refusals import Refusal
from graphprune.analysis.sizes import Sizes, concrete_sizes
from graphprune.analysis.unit_cost import UnitCost
from graphprune.axes.algebra import Freeze
from graphprune.axes.infer import infer
from graphprune.axes.typing import Typing
from graphprune.ir.input_origins import fed_to
from graphprune.ir.model import Model
from graphprune.ir.stays import Stays
from graphprune.runtime.sessions import Feeds, RuntimeOptions


class ModelAnalysis:
    """A model with its tensors' ``sizes`` at one sample; ``inputs`` are input shapes that are known to work."""

    def __init__(self, model: Model, sizes: Sizes, inputs: Mapping[str, tuple[int, ...]]) -> None:
        self.model = model
        self.sizes = sizes
        self.inputs = inputs

    @property
    def flow(self) -> DataFlow:
        return self.model.derived(DataFlow)

    @cached_property
    def cost(self) -> Cost:
        return model_cost(self.model, self.sizes)

    @cached_property
    def joins(self) -> list[Join]:
        """Residual joins, with their blocks or the reason why there is none."""
        return [_held(join, self.model.stays) for join in find_joins(self.model, self.sizes)]

    @cached_property
    def body_joins(self) -> list[Join]:
        """The same of the bodies of If, Loop and Scan."""
        return [_held(join, self.model.stays) for join in joins_in_bodies(self.model, self.sizes, self.joins)]

    @property
    def all_joins(self) -> list[Join]:
        """Those of the graph itself and of all bodies in it."""
        return [*self.joins, *self.body_joins]

    @cached_property
    def typing(self) -> Typing:
        """The type of every axis."""
        return infer(self.model, self.inputs)

    @cached_property
    def groups(self) -> list[Group]:
        """What shrinks together."""
        found = find_groups(self.model, self.typing)
        return [_whole(group, self.model.stays) for group in found]

    def typed_cost(self) -> UnitCost:
        """A new cost function, with everything in place."""
        return UnitCost(self.model, self.typing, self.sizes)


def _held(join: Join, stays: Stays) -> Join:
    """The join without a block where that is to stay."""
    block = join.block
    why = stays.why(block.name, block.layers, (block.join,)) if block else ""
    return replace(join, block=None, refusal=Refusal("to-stay", why)) if why else join


def _whole(group: Group, stays: Stays) -> Group:
    """The group as one that cannot shrink where that is to stay."""
    why = stays.why(group.name, group.writers, group.readers) if group.is_prunable else ""
    return replace(group, freeze=Freeze(why, "")) if why else group


def analyse(model: Model, feeds: Feeds, runtime: RuntimeOptions) -> ModelAnalysis:
    """The analysis of ``model`` at the sizes of ``feeds``, which may be those of the file it was made from."""
    feeds = fed_to(model, feeds)
    shapes = {name: array.shape for name, array in feeds.items()}
    return ModelAnalysis(model, concrete_sizes(model, feeds, runtime), shapes)
