"""What the base class checks around every pass: requires before it decides, ensures on what it decided."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest

import graphprune
from graphprune import RecoveryOptions, RunOptions, RuntimeOptions, TimingOptions
from graphprune.errors import OptionError, PassError
from graphprune.pass_infra.base import Pass
from graphprune.pass_infra.context import Context
from graphprune.plan.plan import Decision, RemovedBlock, RemovedUnits
from graphprune.report.result import Result
from tests.graphs import residual_mlp

OPTIONS = RunOptions(
    align=1,
    timing=TimingOptions(measure_latency=False),
    recovery=RecoveryOptions(repair=()),
    runtime=RuntimeOptions(threads=1),
)
Change = Callable[[Decision], Decision]


def block(place: int) -> RemovedBlock:
    """As it lies in a residual MLP that was exported by :func:`residual_mlp`."""
    return RemovedBlock(f"join{place}", f"join{place}", f"h{place}", f"h{place + 1}", 0, 0, 0.0, 0.0)


def asked(pass_: Pass, target: str = "removed=1") -> Result:
    rows = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
    return graphprune.prune(residual_mlp(3), [pass_], rows, target, dry_run=True, options=OPTIONS)


@dataclass(frozen=True)
class Careless(Pass):
    """Removes the last block and the first unit of the first group, changed by ``change`` into something wrong."""

    name: ClassVar[str] = "careless"
    paper: ClassVar[str] = "none"
    what: ClassVar[str]
    change: ClassVar[Change]

    def decide(self, context: Context) -> Decision:
        last = [join.block for join in context.joins if join.block][-1]
        group = next(group for group in context.analysis.groups if group.is_prunable)
        gone = RemovedBlock(last.name, last.join, last.entry, last.exit, 0, 0, 0.0, 0.0)
        units = RemovedUnits(group.name, group.kind, group.size, (0,), 0, 0, (0.0,) * group.size)
        right = Decision(str(self), blocks=(gone,)) if self.what == "blocks" else Decision(str(self), units=(units,))
        return type(self).change(right)


def blocks(**changes: Any) -> Change:
    return lambda decision: replace(decision, blocks=(replace(decision.blocks[0], **changes),))


def units(**changes: Any) -> Change:
    return lambda decision: replace(decision, units=(replace(decision.units[0], **changes),))


@pytest.mark.parametrize(
    ("what", "change", "says"),
    [
        ("blocks", blocks(join="nowhere"), "there is no join 'nowhere'"),
        ("blocks", blocks(entry="x"), "between other tensors than"),
        ("blocks", lambda d: replace(d, blocks=d.blocks * 2), r"it removes .* twice"),
        ("blocks", lambda d: replace(d, spec="someone-else"), "it is signed 'someone-else'"),
        ("units", units(group="nothing"), "it removes units of nothing, and there is no such group"),
        ("units", units(size=99), r"it counts 99 units in .*, which has \d+"),
        ("units", units(removed=(-1,)), "it removes unit -1 of"),
        ("units", units(removed=(10_000,)), "it removes unit 10000 of"),
        ("units", units(removed=(0, 0)), "it removes a unit of .* twice"),
        ("units", lambda d: units(removed=tuple(range(d.units[0].size)))(d), "it leaves nothing of"),
        ("units", lambda d: replace(d, units=d.units * 2), "it names .* twice"),
    ],
)
def test_a_broken_decision_is_a_fault_of_the_pass(what: str, change: Change, says: str) -> None:
    made = type("Made", (Careless,), {"what": what, "change": staticmethod(change)})
    with pytest.raises(
        PassError, match=rf"^pass careless made a decision that cannot be carried out: .*{says}"
    ) as caught:
        asked(made())
    assert caught.value.exit_code == 70


@pytest.mark.parametrize("what", ["blocks", "units"])
def test_unchanged_it_is_carried_out(what: str) -> None:
    """Else the table above shows nothing."""
    made = type("Made", (Careless,), {"what": what, "change": staticmethod(lambda decision: decision)})
    assert asked(made()).plan.decisions[0].removed_count == 1


@dataclass(frozen=True)
class Noted(Careless):
    """Writes down what is called; one decision after another, each on what the one before left."""

    calls: ClassVar[list[str]]

    def requires(self, context: Context) -> None:
        self.calls.append("requires")
        if context.goal.target.kind == "ratio":
            raise OptionError("no ratio", "ask for another")

    def decisions(self, context: Context) -> Iterator[Decision]:
        for place in (2, 0):
            self.calls.append(f"decide {place}")
            yield replace(self.decide(context), blocks=(block(place),))

    def ensures(self, context: Context, decision: Decision) -> None:
        super().ensures(context, decision)
        self.calls.append(f"ensures {decision.blocks[0].join} of {sum(1 for j in context.joins if j.block)}")


def noted(target: str, calls: list[str]) -> None:
    asked(type("Made", (Noted,), {"what": "blocks", "change": staticmethod(lambda d: d), "calls": calls})(), target)


def test_requires_comes_first_and_ensures_sees_the_network_that_each_decision_was_made_for() -> None:
    calls: list[str] = []
    noted("removed=2", calls)
    assert calls == ["requires", "decide 2", "ensures join2 of 3", "decide 0", "ensures join0 of 2"]


def test_what_a_pass_requires_is_refused_before_it_decides() -> None:
    calls: list[str] = []
    with pytest.raises(OptionError, match="no ratio"):
        noted("ratio=0.5", calls)
    assert calls == ["requires"]
