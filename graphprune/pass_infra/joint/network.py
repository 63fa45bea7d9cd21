"""A network on its way: what it is now, the removals that led to it, and where its representation lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from graphprune.analysis.cost import Cost
from graphprune.analysis.model_analysis import ModelAnalysis, analyse
from graphprune.analysis.representation import Representation, find_representations
from graphprune.data.dataset import Data
from graphprune.plan.plan import Decision
from graphprune.repair.stage import Method, repair
from graphprune.rewrite.apply import execute
from graphprune.rewrite.removal import Removal
from graphprune.runtime.execution import Execution
from graphprune.runtime.sessions import RuntimeOptions

# matching statistics first gains little that the refit does not, and takes as long
_METHODS: tuple[Method, ...] = ("ridge",)


@dataclass(frozen=True)
class Network:
    """``removals`` led here from the network that the search began with;
    ``decision`` is what the last of them carried out.
    """

    analysis: ModelAnalysis
    representations: tuple[Representation, ...]
    removals: tuple[Removal, ...] = ()
    decision: Decision | None = None

    @classmethod
    def first(cls, analysis: ModelAnalysis, names: Sequence[str]) -> Network:
        """The network that the search begins with; ``names`` are tensors to compare, if the user named some."""
        blocks = [join.block for join in analysis.joins if join.block]
        return cls(analysis, tuple(find_representations(analysis.model, blocks, names)))

    @property
    def cost(self) -> Cost:
        return self.analysis.cost

    def after(self, decision: Decision, data: Data, runtime: RuntimeOptions) -> Network:
        """The child without what ``decision`` names; not repaired."""
        removals = list(self.removals)
        analysis = execute(self.analysis, decision, removals, data.first(1), runtime)
        made = analysis.flow.producer  # an exit that is an output, or wider than its entry, is still there
        stand_in = {block.exit: block.entry for block in decision.blocks if block.exit not in made}
        found = tuple(replace(each, tensor=_resolve(stand_in, each.tensor)) for each in self.representations)
        return Network(analysis, found, tuple(removals), decision)

    def repaired(self, first: Network, parent: Network, data: Data, execution: Execution) -> Network:
        """The same with its layers refitted to compute what ``first`` did on ``data``; those that see no change since
        ``parent``, which this is a child of, have been refitted in it.
        """
        model, _ = repair(
            first.analysis.model,
            self.analysis.model,
            self.removals,
            self.analysis.sizes,
            data,
            execution.batch,
            _METHODS,
            execution.runtime,
            execution.progress,
            repaired=parent.analysis.model,
        )
        return replace(self, analysis=analyse(model, data.first(1), execution.runtime))


def _resolve(stand_in: dict[str, str], tensor: str) -> str:
    """What takes the place of a tensor that left with a block."""
    while tensor in stand_in:
        tensor = stand_in[tensor]
    return tensor
