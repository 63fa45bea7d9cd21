"""Latency targets for the passes of another package, found by its entry points; each says what it must and no more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

import graphprune
from graphprune import passes
from graphprune.analysis.blocks import Block
from graphprune.analysis.cost import Cost, part_cost
from graphprune.analysis.groups import Group
from graphprune.errors import PassError, TargetNotReached
from graphprune.latency.closing import TOLERANCE
from graphprune.pass_infra.base import Pass
from graphprune.pass_infra.block_pass import BlockPass
from graphprune.pass_infra.block_scores import BlockScoring
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.removed_units import removed_units
from graphprune.pass_infra.unit_pass import UnitPass
from graphprune.plan.plan import Decision, RemovedBlock, Score
from graphprune.report.result import Result
from tests.graphs import residual_mlp
from tests.latency.made_up import OPTIONS, FakeClock


@dataclass(frozen=True)
class LastBlocks(Pass):
    """Nothing but ``decide``: the last block goes, then the one before it ..."""

    name: ClassVar[str] = "last-blocks"
    paper: ClassVar[str] = "none"

    def decide(self, context: Context) -> Decision:
        now = context.analysis.cost
        gone: list[RemovedBlock] = []
        blocks = [join.block for join in context.joins if join.block]
        for block in reversed(blocks):
            if context.goal.is_met(now, len(gone), len(blocks)):
                break
            cost = part_cost(context.model, block.nodes, context.sizes)
            gone.append(RemovedBlock(block.name, block.join, block.entry, block.exit, cost.macs, cost.params, 0.0, 0.0))
            now = Cost(now.macs - cost.macs, now.params - cost.params)
        is_met = context.goal.is_met(now, len(gone), len(blocks))
        return Decision(str(self), tuple(gone), limit="" if is_met else "no block is left", considered=len(blocks))


@dataclass(frozen=True)
class LastUnits(Pass):
    """Nothing but ``decide``, of units: the same number of the last ones of every group."""

    name: ClassVar[str] = "last-units"
    paper: ClassVar[str] = "none"
    needs_data: ClassVar[bool] = False

    def decide(self, context: Context) -> Decision:
        groups = [group for group in context.analysis.groups if group.is_prunable and group.kind == "neurons"]
        cost, most, count = context.analysis.typed_cost(), min(group.size for group in groups) - 1, 0
        while count < most and not context.goal.is_met(cost.cost, count * len(groups), 0):
            count += 1
            for group in groups:
                cost.keep(group.atom, group.size - count)
        gone = {group.atom: np.arange(group.size - count, group.size) for group in groups}
        scores = [np.arange(group.size, 0, -1, dtype=np.float64) for group in groups]
        units = removed_units(groups, scores, gone, context.analysis.typed_cost())
        return Decision(str(self), units=units, considered=sum(group.size for group in groups))


@dataclass(frozen=True)
class OddUnits(UnitPass):
    """Importance by place."""

    name: ClassVar[str] = "odd-units"
    paper: ClassVar[str] = "none"
    kinds: ClassVar[tuple[str, ...]] = ("neurons",)

    def score(self, context: Context, groups: Sequence[Group]) -> tuple[list[NDArray[np.float64]], tuple[str, ...]]:
        return [np.arange(group.size, dtype=np.float64) % 7 for group in groups], ("by place",)


@dataclass(frozen=True)
class OneByOne(OddUnits):
    """With a rule of its own for how much of each group goes: one unit after the other from all of them."""

    name: ClassVar[str] = "one-by-one"

    def choose(
        self, context: Context, groups: Sequence[Group], scores: Sequence[NDArray[np.float64]], notes: tuple[str, ...]
    ) -> Decision:
        return LastUnits.decide(self, context)  # type: ignore[arg-type]  # it looks at the context alone


@dataclass(frozen=True)
class FirstBlocks(BlockPass):
    """Scores by place."""

    name: ClassVar[str] = "first-blocks"
    paper: ClassVar[str] = "none"
    score_title: ClassVar[str] = "place"

    def score(self, scoring: BlockScoring, candidates: Sequence[Block]) -> list[Score]:
        return [Score(block.name, float(place), 0.0) for place, block in enumerate(candidates)]

    def memory_bytes(self, rows: int, width: int) -> int:
        return 0


@dataclass(frozen=True)
class Stepwise(LastBlocks):
    """One block in each decision."""

    name: ClassVar[str] = "stepwise"

    def decisions(self, context: Context) -> Iterator[Decision]:
        whole = self.decide(context)
        for block in whole.blocks:
            yield Decision(str(self), (block,), considered=1)


@dataclass(frozen=True)
class Broken(LastUnits):
    """Names a unit that is not there."""

    name: ClassVar[str] = "broken"

    def decide(self, context: Context) -> Decision:
        decision = super().decide(context)
        units = decision.units[0]
        wrong = type(units)(**{**vars(units), "removed": (units.size,)})
        return Decision(str(self), units=(wrong,), considered=decision.considered)


STRANGERS = (LastBlocks, LastUnits, OddUnits, OneByOne, FirstBlocks, Stepwise, Broken)


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [EntryPoint(kind.name, f"{__name__}:{kind.__name__}", "graphprune.passes") for kind in STRANGERS]
    monkeypatch.setattr(passes, "entry_points", lambda group: entries)


def decided(specs: Sequence[str], target: str) -> Result:
    rows = np.random.default_rng(0).standard_normal((32, 4)).astype(np.float32)
    return graphprune.prune(residual_mlp(6, 32), specs, rows, target, dry_run=True, options=OPTIONS)


@pytest.mark.parametrize("spec", ["last-units", "odd-units", "odd-units{scope=group}", "one-by-one"])
def test_units_reach_the_time_within_three_per_cent(spec: str, clock: list[FakeClock]) -> None:
    plan = decided([spec], "latency=0.8").plan
    assert abs(plan.reached / 0.8 - 1) <= TOLERANCE
    assert plan.units
    assert 1 <= len(clock[-1].readings) <= 10
    assert plan.reached in clock[-1].readings
    if spec in ("last-units", "one-by-one"):  # by its own rule, not by a knapsack
        assert len({len(units.removed) for units in plan.units}) == 1


@pytest.mark.parametrize("spec", ["last-blocks", "first-blocks", "stepwise"])
def test_blocks_go_in_the_order_of_the_pass_until_the_time_is_reached(spec: str, clock: list[FakeClock]) -> None:
    plan = decided([spec], "latency=0.8").plan
    joins = [f"join{place}" for place in range(6)]
    order = joins if spec == "first-blocks" else joins[::-1]
    assert len(plan.decisions) == (len(plan.blocks) if spec == "stepwise" else 1)
    assert plan.blocks
    assert [block.join for block in plan.blocks] == order[: len(plan.blocks)]
    assert 0.5 < plan.reached <= 0.8 * (1 + TOLERANCE)
    assert plan.reached in clock[-1].readings


def test_what_blocks_leave_the_last_pass_closes(clock: list[FakeClock]) -> None:
    plan = decided(["last-blocks", "last-units"], "latency=0.75").plan
    assert abs(plan.reached / 0.75 - 1) <= TOLERANCE
    assert plan.blocks and plan.units


@pytest.mark.parametrize("spec", ["last-blocks", "last-units"])
def test_out_of_reach_without_rules_in_words(spec: str, clock: list[FakeClock]) -> None:
    with pytest.raises(TargetNotReached, match=rf"at most latency=0\.\d+ with .* gone by {spec}, where its rules end"):
        decided([spec], "latency=0.001")


def test_a_broken_proposal_is_refused_before_it_is_timed(clock: list[FakeClock]) -> None:
    with pytest.raises(
        PassError, match=r"pass broken made a decision that cannot be carried out: it removes unit 64 of"
    ):
        decided(["broken"], "latency=0.8")
    assert not clock[-1].readings
