"""The loop of "Mixture of Pruners" (arXiv 2602.06127): each step a layer, or as many parameters by width."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from graphprune.analysis.layers import find_layers
from graphprune.data.dataset import Data
from graphprune.errors import NothingToPrune
from graphprune.ir.model import Model
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.joint.depth import Depth, layer_cost, without_a_layer
from graphprune.pass_infra.joint.network import Network
from graphprune.pass_infra.joint.split import split
from graphprune.pass_infra.joint.width import Currency, Width
from graphprune.plan.goal import Goal
from graphprune.plan.plan import Decision, TrajectoryPoint
from graphprune.scoring.next_tokens import logit_divergences, next_token_losses

MixtureArbiter = Literal["random", "kl", "perplexity"]
Child = tuple[str, Decision, Width]
"""What went, the decision, and how later steps choose widths."""


@dataclass(frozen=True)
class Mixture:
    """One run. ``path`` are letters, one a step and from the start again: L for a layer, G for a step by width;
    empty: ``arbiter`` decides. ``samples`` are scored; an arbiter that looks at outputs gets every second of them.
    """

    spec: str
    depth: Depth
    width: Width
    arbiter: MixtureArbiter
    path: str
    exclude: tuple[str, ...]
    samples: int

    def run(self, context: Context) -> Iterator[Decision]:
        """A decision per step, until the target is met, or with the limit that stands before it."""
        looks = self.arbiter != "random" and not self.path
        data, most = context.data, self.samples
        fit, held_out = split(data, most) if looks else (data.at_most(most), data)
        parent, width, limit, number = Network(context.analysis, ()), self.width, "", 0
        while not context.goal.is_met(parent.cost):
            context.execution.progress(f"step {number + 1}", round(100 * context.goal.progress(parent.cost)), 100)
            inside = replace(context, analysis=parent.analysis, data=fit, goal=Goal(context.goal.target, parent.cost))
            children = list(self._children(inside, width, self._drawn(context, number)))
            if not children:
                limit = self._limit(context, parent)
                break
            parent, decision, width = self._judged(context, held_out, parent, children)
            yield decision
            number += 1
            if context.goal.in_rounds:
                return
        if limit or not number:
            yield Decision(self.spec, limit=limit)

    def _drawn(self, context: Context, number: int) -> str:
        """The letter of this step; empty where both children are to be made."""
        if self.path:
            return self.path[number % len(self.path)]
        if self.arbiter == "random":
            random = np.random.default_rng([context.seed, context.goal.removed_before, number])
            return "LG"[int(random.integers(2))]
        return ""

    def _children(self, inside: Context, width: Width, letter: str) -> Iterator[Child]:
        """The child that ``letter`` names, or the other where there is none; without a letter both, the layer first."""
        layer = without_a_layer(inside, self.depth, self.exclude)
        if layer is not None and letter != "G":
            yield "layer", layer, width
            if letter:
                return
        currency: Currency = "flops" if inside.goal.target.kind == "flops" else "params"
        units = width.step(inside, self._budget(inside, layer, currency), currency)
        if units is not None:
            yield "units", *units
        elif layer is not None and letter == "G":
            yield "layer", layer, width

    def _budget(self, inside: Context, layer: Decision | None, currency: Currency) -> int:
        """What one layer of the present network costs: the one that may go, or the first."""
        if layer is not None:
            return sum(block.params if currency == "params" else block.macs for block in layer.blocks)
        layers = find_layers(inside.model, inside.joins)
        if not layers:
            raise NothingToPrune(
                f"pass {self.spec} finds no layer to remove, nor one to measure widths by",
                "graphprune inspect lists what can go, and why the rest cannot",
            )
        macs, params = layer_cost(inside, layers[0])
        return params if currency == "params" else macs

    def _judged(
        self, context: Context, held_out: Data, parent: Network, children: list[Child]
    ) -> tuple[Network, Decision, Width]:
        """The child that goes on. Of equals the layer goes."""
        networks = [parent.after(decision, held_out, context.execution.runtime) for _, decision, _ in children]
        is_judged = self.arbiter != "random" and not self.path
        models = [network.analysis.model for network in networks]
        scores = self._scores(context, held_out, models) if is_judged else []
        best = int(np.argmin(scores)) if scores else 0
        (kind, decision, width), winner = children[best], networks[best]
        step = TrajectoryPoint(
            kind=kind,
            removed=(
                *(block.name for block in decision.blocks),
                *(f"{units.group}: {len(units.removed)} of {units.size}" for units in decision.units),
            ),
            macs=winner.cost.macs,
            params=winner.cost.params,
            score=scores[best] if scores else None,
            arbiter="path" if self.path else self.arbiter,
            rival_kind=children[1 - best][0] if len(children) > 1 else None,
            rival_score=scores[1 - best] if len(scores) > 1 else None,
        )
        title = "turn" if self.depth == "angular" else ""
        return winner, replace(decision, spec=self.spec, trajectory=(step,), score_title=title), width

    def _scores(self, context: Context, data: Data, models: list[Model]) -> list[float]:
        """Low goes on."""
        if self.arbiter == "kl":
            return logit_divergences(context.model, models, data, context.execution)
        return [float(np.exp(loss)) for loss in next_token_losses(models, data, context.execution)]

    def _limit(self, context: Context, parent: Network) -> str:
        kind = context.goal.target.kind
        layers = "the last two layers staying" if self.depth == "third-to-last" else "no layer being left"
        kept = "too few units to make up for a layer"
        return f"at most {kind}={context.goal.reached(parent.cost):.4g}, because of {layers} and {kept}"
