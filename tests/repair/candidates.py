"""The setting in which removals are judged after their repair."""

from __future__ import annotations

from graphprune.analysis.representation import find_representations
from graphprune.data.dataset import load_data
from graphprune.repair.trials import RepairedTrials, TrialSetup
from tests.repair.story import ONE_THREAD, Story

ALL = 99


def trials(net: Story, batch: int = 8, refits: int = ALL, *, is_repaired: bool = False, names: tuple[str, ...] = ()) -> RepairedTrials:  # fmt: skip
    small = net.small
    blocks = [join.block for join in small.joins if join.block]
    representations = tuple(find_representations(small.model, blocks, names))
    data = load_data(net.feeds, small.model, None)
    return RepairedTrials(
        TrialSetup(
            net.original.model, small.model, tuple(net.steps), is_repaired, small.sizes, representations, data, batch, refits,
            ONE_THREAD,
        )
    )  # fmt: skip
