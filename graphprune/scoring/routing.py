"""How much each expert of a router is used: the share of the tokens' weight that goes to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graphprune.analysis.groups import Group
from graphprune.axes import algebra
from graphprune.axes.typing import Contraction, Typing
from graphprune.data.dataset import Data
from graphprune.ir.bodies import all_nodes
from graphprune.ir.model import Model
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.scoring.tokens import token_mask
from graphprune.segments.capture import capture


@dataclass(frozen=True)
class Router:
    """Where a group's experts are chosen: ``count`` of them by ``tensor``, whose axis ``place`` they are.

    ``holds_shares`` tells that a Softmax made it, so that it adds up to one.
    """

    tensor: str
    place: int
    count: int
    holds_shares: bool


def routers(model: Model, typing: Typing, group: Group) -> list[Router]:
    """The nodes outside of bodies that choose among the experts of ``group``."""
    nodes = {node.name: node for node in model.graph.nodes}
    places = [
        place
        for place in typing.contractions
        if place.is_choice and place.node in nodes and _axis(model, typing, place) is group.atom
    ]
    is_shared = any("Softmax" in nodes[place.node].op for place in places)
    return [
        Router(nodes[place.node].inputs[place.operand].name, place.axis, group.least, is_shared)
        for place in places
        if "Softmax" not in nodes[place.node].op
    ]


def _axis(model: Model, typing: Typing, place: Contraction) -> algebra.Axis | None:
    node = next(node for node in all_nodes(model.graph) if node.name == place.node)
    axes = typing.of(node, place.operand)
    return None if axes is None else algebra.expand(axes[place.axis])


def routed_shares(values: np.ndarray, router: Router) -> NDArray[np.float64]:
    """(tokens, experts): the weights by which each token's experts are mixed, which add up to one; 0 for the others."""
    rows = np.moveaxis(values, router.place, -1).reshape(-1, values.shape[router.place]).astype(np.float64)
    chosen = np.argsort(-rows, axis=1, kind="stable")[:, : router.count]
    picked = np.take_along_axis(rows, chosen, axis=1)
    weights = picked if router.holds_shares else np.exp(picked - picked.max(1, keepdims=True))
    totals = weights.sum(1, keepdims=True)
    shares = np.zeros_like(rows)
    np.put_along_axis(shares, chosen, weights / np.where(totals > 0, totals, 1), axis=1)
    return shares


def expert_use(
    model: Model,
    typing: Typing,
    groups: Sequence[Group],
    data: Data,
    batch: int,
    options: RuntimeOptions,
    progress: Callable[[int], None],
) -> list[NDArray[np.float64]]:
    """(size,) of every group: the mean share that its experts have in a token's mix; all of a group add up to one.

    An input named ``attention_mask`` tells which tokens count. One pass over the data serves all groups.
    """
    found = [routers(model, typing, group)[-1] for group in groups]
    sums = [np.zeros(group.size) for group in groups]
    tokens, done = [0] * len(groups), 0
    for part, values in capture(model, [router.tensor for router in found], data, batch, options):
        mask = token_mask(part)
        for index, router in enumerate(found):
            shares = routed_shares(values[router.tensor], router)
            if mask is not None and mask.size == len(shares):
                shares = shares[mask.reshape(-1)]
            sums[index] += shares.sum(0)
            tokens[index] += len(shares)
        done += len(part)
        progress(done)
    return [total / max(1, count) for total, count in zip(sums, tokens, strict=True)]
