"""What a block gives up is weighed against what it saves: the loss per MAC, per parameter, or per millisecond.

As PRACTISE does it (Wang & Wu, "Practical Network Acceleration with Tiny Sets", CVPR 2023), which ranks blocks by what
is lost after recovery for the time they save.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from graphprune.analysis.blocks import Block
from graphprune.analysis.cost import Cost
from graphprune.errors import OptionError
from graphprune.pass_infra.proposals import EstimatedTimes
from graphprune.plan.plan import Score

Per = Literal["block", "macs", "params", "ms"]
PER_HELP = "lowest score goes first, or lowest per MAC, parameter or measured time that the block saves"

_LEAST = 1e-9
"""Share of the network: what saves nothing goes last."""


@dataclass(frozen=True)
class Savings:
    """The share of the network's cost that each candidate saves, by its join; ``per`` tells of which cost."""

    per: Per
    shares: Mapping[str, float]

    @classmethod
    def of(
        cls,
        per: Per,
        whole: Cost,
        costs: Mapping[str, Cost],
        candidates: Sequence[Block],
        times: EstimatedTimes | None,
    ) -> Savings:
        """By ``costs``, those of the candidates, by join, of the ``whole`` network's; or by ``times``.

        Raises
        ------
        OptionError
            Times are asked for, and none are measured.
        """
        if per == "block":
            return cls(per, {})
        if per == "ms":
            if times is None:
                raise OptionError("per=ms needs times, which only --target latency= measures", "write per=macs")
            return cls(per, {block.join: 1 - times.without(block.nodes) for block in candidates})
        total = max(1, getattr(whole, per))
        return cls(per, {join: getattr(cost, per) / total for join, cost in costs.items()})

    def weighed(self, candidates: Sequence[Block], scores: Sequence[Score], lost: float) -> list[Score]:
        """What each candidate adds to ``lost``, over what it saves; the scores as they are where nothing is weighed."""
        if self.per == "block":
            return list(scores)
        saved = [max(_LEAST, self.shares[block.join]) for block in candidates]
        return [
            replace(score, score=max(0.0, score.score - lost) / share)
            for score, share in zip(scores, saved, strict=True)
        ]
