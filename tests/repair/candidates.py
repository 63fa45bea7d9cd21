"""The setting in which removals are judged after their repair."""

from __future__ import annotations

from graphprune.analysis.representation import find_representations
from graphprune.data.dataset import load_data
from graphprune.repair.history import History
from graphprune.repair.trials import RepairedTrials, TrialSetup
from graphprune.runtime.execution import Execution
from tests.repair.story import ONE_THREAD, Story

ALL = 99


def trials(
    net: Story, batch: int = 8, refits: int = ALL, *, is_repaired: bool = False, names: tuple[str, ...] = ()
) -> RepairedTrials:
    small = net.small
    blocks = [join.block for join in small.joins if join.block]
    representations = tuple(find_representations(small.model, blocks, names))
    data = load_data(net.feeds, small.model, None)
    history = History(net.original.model, tuple(net.steps), is_repaired)
    return RepairedTrials(TrialSetup(history, small, representations, data, Execution(batch, ONE_THREAD), refits))
