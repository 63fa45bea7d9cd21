"""What all passes that remove units share: which groups are on offer, the solving, and the decision."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from math import ceil, floor
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from graphprune.analysis.cost import Cost
from graphprune.analysis.groups import Group
from graphprune.analysis.unit_cost import UnitCost
from graphprune.base.name_patterns import is_match
from graphprune.errors import DataError, NothingToPrune, OptionError
from graphprune.pass_infra.base import Choices, Pass
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.equal_cache import RULE, equal_groups, kept_for_others
from graphprune.pass_infra.proposals import Profiler, Proposals
from graphprune.pass_infra.reach import unreachable
from graphprune.pass_infra.removed_units import removed_units
from graphprune.pass_infra.uniform_shape import SHAPE_HELP, UNIFORM, Shape, equal_layers, kept_for_other_layers
from graphprune.plan.goal import Goal
from graphprune.plan.plan import Decision
from graphprune.plan.selection import Candidate, Scope, select
from graphprune.plan.target import Target

_ROUNDING = 1e-9  # of a share times a count
_FEW = 5  # so many names in a note
_ROUNDS = 10  # a tenth of the filters at a time, as in the PLS papers


@dataclass(frozen=True)
class UnitPass(Pass):
    """Base of passes that score the units of dependency groups and let the least important go."""

    kinds: ClassVar[tuple[str, ...]]
    is_coarse: ClassVar[bool] = False
    unscored: ClassVar[str] = "the pass has no score for them"
    """Why some groups are not :meth:`scorable`."""

    scope: Scope = field(
        default="global", metadata={"help": "compare units of all groups, or take the same share of each"}
    )
    ratio: float | None = field(
        default=None, metadata={"help": "share of the units that goes at most; auto: as needed"}
    )
    floor: float = field(default=0.1, metadata={"help": "share of each group that stays at least; never less than one"})
    include: tuple[str, ...] = field(
        default=(), metadata={"help": "groups to prune: glob or re:, on group or node names"}
    )
    exclude: tuple[str, ...] = field(
        default=(), metadata={"help": "groups to keep: glob or re:, on group or node names"}
    )
    widths: bool = field(default=False, metadata={"help": "whether residual streams may shrink too"})
    uniform: bool = field(
        default=True, metadata={"help": "whether all layers of a decoder keep equally many heads in the cache"}
    )
    shape: Shape = field(default="free", metadata={"help": SHAPE_HELP})

    @abstractmethod
    def score(self, context: Context, groups: Sequence[Group]) -> tuple[list[NDArray[np.float64]], tuple[str, ...]]:
        """One importance per unit of each group (low goes first), and notes on how they came about."""

    def scorable(self, context: Context, groups: Sequence[Group]) -> list[Group]:
        """Those of ``groups`` that the pass has a score for; the others stay whole, and a note says so."""
        return list(groups)

    def why_unscored(self, context: Context, group: Group) -> str:
        """Why a group on offer is not :meth:`scorable`."""
        return self.unscored

    def requires(self, context: Context) -> None:
        """Refuse options outside their range."""
        if not 0 <= self.floor <= 1:
            raise OptionError(f"the floor of pass {self.name} is {self.floor:g}", "write a share from 0 to 1")
        if self.ratio is not None and not 0 < self.ratio < 1:
            raise OptionError(f"the ratio of pass {self.name} is {self.ratio:g}", "write a share between 0 and 1")
        if self.shape == "uniform" and not self.uniform:
            raise OptionError(f"{self} asks for layers that are alike and for caches that are not", "leave one out")
        if self.shape == "uniform" and self.widths:
            raise OptionError(f"{self} cuts residual widths, which shape=uniform keeps", "leave one out")

    def decide(self, context: Context) -> Decision:
        return self.from_one_scoring(context)(context.goal)

    def choices(self, context: Context, stack: ExitStack) -> Choices:
        if type(self).decide is not UnitPass.decide:
            return super().choices(context, stack)
        return self.from_one_scoring(context)

    def from_one_scoring(self, context: Context) -> Choices:
        """What goes for one goal after another, by scores that are told once."""
        groups = self.eligible(context)
        considered = sum(group.size for group in groups)
        scored: list[tuple[Sequence[NDArray[np.float64]], tuple[str, ...]]] = []  # when first needed

        def decided(goal: Goal) -> Decision:
            if goal.is_met(context.analysis.cost, 0, considered):
                return Decision(str(self), considered=considered)
            if not scored:
                scored.append(self.finite_scores(replace(context, goal=goal), groups))
            return self.choose(replace(context, goal=goal), groups, *scored[0])

        return decided

    def choose(
        self, context: Context, groups: Sequence[Group], scores: Sequence[NDArray[np.float64]], notes: tuple[str, ...]
    ) -> Decision:
        """What goes of scored groups; where multiples are ours to choose, also less than one if the target needs it."""
        decision = self._chosen(context, groups, scores, notes)
        if not (decision.limit and context.goal.is_last):
            return decision
        multiples = context.widths.measured()
        note = (
            f"{context.goal.target} is out of reach in multiples of {multiples.width_multiple}: some groups keep fewer"
        )
        for least in multiples.finer():
            finer = replace(context, widths=replace(context.widths, min_multiple=least))
            decision = self._chosen(finer, groups, scores, (*notes, note))
            if not decision.limit:
                break
        return decision

    def _chosen(
        self, context: Context, groups: Sequence[Group], scores: Sequence[NDArray[np.float64]], notes: tuple[str, ...]
    ) -> Decision:
        considered = sum(group.size for group in groups)
        cost = context.analysis.typed_cost()

        def is_met(now: Cost, removed: int) -> bool:
            return context.goal.is_met(now, removed, considered) or (
                context.goal.in_rounds and removed >= considered / _ROUNDS
            )

        candidates = self.candidates(context, groups, scores)
        together = self.together(context, groups)
        selection = select(candidates, cost, is_met, self.scope, self.most(context, considered), together)
        removed = sum(len(indices) for indices in selection.removed.values())
        limit = "" if selection.is_met else self.limit(context, cost, removed, considered)
        units = removed_units(groups, scores, selection.removed, context.analysis.typed_cost())
        return Decision(str(self), units=units, limit=limit, considered=considered, notes=notes)

    def candidates(
        self, context: Context, groups: Sequence[Group], scores: Sequence[NDArray[np.float64]]
    ) -> list[Candidate]:
        """The scored groups with what must stay of them."""
        multiples = context.widths.measured_for(groups)
        return [
            Candidate(
                group,
                values,
                self.least(group),
                multiples.of(group.kind, group.size),
                context.widths.min_multiple,
            )
            for group, values in zip(groups, scores, strict=True)
        ]

    def finite_scores(
        self, context: Context, groups: Sequence[Group]
    ) -> tuple[list[NDArray[np.float64]], tuple[str, ...]]:
        """As :meth:`score`.

        Raises
        ------
        DataError
            A score is not finite.
        """
        scores, notes = self.score(context, groups)
        whole: dict[str, list[str]] = defaultdict(list)
        for name, why in self._sorted_out(context)[1].items():
            whole[why].append(name)
        notes = (*notes, *(f"left whole, for {why}: {_few(names)}" for why, names in whole.items()))
        for group, values in zip(groups, scores, strict=True):
            if not np.isfinite(values).all():
                raise DataError(
                    f"the importance of {group.name} is not finite",
                    "look for NaN or infinity in weights and activations",
                )
        return scores, notes

    def eligible(self, context: Context) -> list[Group]:
        """The groups on offer that the pass has a score for.

        Raises
        ------
        OptionError
            A pattern matches no group.
        NothingToPrune
            There is none; the message counts the reasons.
        """
        found, whole = self._sorted_out(context)
        if not found:
            names, why = _few(list(whole)), next(iter(whole.values()))
            if RULE in why:
                raise NothingToPrune(
                    f"pass {self.name} leaves {names} whole: {why}",
                    "add uniform=false where the cache of each layer may have a size of its own",
                )
            if UNIFORM in why:
                raise NothingToPrune(f"pass {self.name} leaves {names} whole: {why}", "leave shape=uniform out")
            raise NothingToPrune(
                f"pass {self.name} has no score for {names}: {why}", "use another pass: graphprune passes lists them"
            )
        return found

    def _sorted_out(self, context: Context) -> tuple[list[Group], dict[str, str]]:
        """The groups that units can be taken from, and for the others on offer, by name, why not."""
        offered = self._on_offer(context)
        whole = {group.name: unreachable(context, group, needs_activations=self.needs_data) for group in offered}
        found = self.scorable(context, [group for group in offered if not whole[group.name]])
        scored = {group.name for group in found}
        unscored = {
            group.name: whole[group.name] or self.why_unscored(context, group)
            for group in offered
            if group.name not in scored
        }
        torn = kept_for_others(context.analysis, found) if self.uniform else {}
        if self.shape == "uniform":
            torn |= kept_for_other_layers(context.analysis.groups, [group for group in found if group.name not in torn])
        return [group for group in found if group.name not in torn], unscored | torn

    def together(self, context: Context, groups: Sequence[Group]) -> list[list[int]]:
        """Places in ``groups`` of those that lose equally many units."""
        if self.shape == "uniform":
            return equal_layers(groups)
        return equal_groups(context.analysis, groups) if self.uniform else []

    def _on_offer(self, context: Context) -> list[Group]:
        """As :meth:`eligible`, whether or not there is a score."""
        wanted = (*self.kinds, "width") if self.widths else self.kinds
        groups = context.analysis.groups
        check_patterns((*self.include, *self.exclude), groups)
        mine = [group for group in groups if group.kind in wanted]
        found = [
            group
            for group in mine
            if group.is_prunable
            and (not self.include or any(matches(pattern, group) for pattern in self.include))
            and not any(matches(pattern, group) for pattern in self.exclude)
        ]
        if not found:
            reasons = Counter(group.freeze.reason for group in mine if group.freeze)
            first = {group.freeze.reason: group.freeze.node for group in reversed(mine) if group.freeze}
            places = {reason: f" (at {node})" if node else "" for reason, node in first.items()}
            parts = [f"{count} because {reason}{places[reason]}" for reason, count in reasons.most_common()]
            free = sum(group.is_prunable for group in mine)
            parts += [f"{free} by include and exclude"] if free else []
            kept = f": of {len(mine)} groups, kept are {', '.join(parts)}" if mine else ": there are none"
            raise NothingToPrune(
                f"pass {self.name} finds no {' or '.join(wanted)} to prune{kept}",
                "graphprune inspect --groups lists every group",
            )
        return found

    def least(self, group: Group) -> int:
        """The fewest units of ``group`` that must stay."""
        return max(group.least, ceil(self.floor * group.size - _ROUNDING))

    def most(self, context: Context, considered: int) -> int:
        """The most units that may go; where the ratio is the target itself, rounding is the target's business."""
        if self.ratio is None or context.goal.target == Target("ratio", self.ratio):
            return considered
        return floor(self.ratio * considered + _ROUNDING)

    def limit_rules(self, context: Context) -> list[str]:
        rules = [f"the floor of {self.floor:g} per group"]
        rules += [f"the ratio of {self.ratio:g}"] if self.ratio is not None else []
        if context.widths.min_multiple is None and (multiple := context.widths.measured().width_multiple) > 1:
            rules.append(f"kept counts in multiples of {multiple}")
        mine = [group for group in context.analysis.groups if group.kind in self.kinds]
        if self.shape == "uniform":
            rules.append(UNIFORM)
        elif self.together(context, mine):
            rules.append(RULE)
        return rules if self.widths else [*rules, "residual widths staying"]

    def limit(self, context: Context, cost: UnitCost, removed: int, considered: int) -> str:
        """How far the pass came, and because of what no further."""
        best = context.goal.reached(cost.cost, removed, considered)
        gone, rules = f"{removed} of {considered} units gone", ", ".join(self.limit_rules(context))
        return f"at most {context.goal.target.kind}={best:.4g} with {gone}, because of {rules}"

    def proposals(self, context: Context, profiler: Profiler) -> Proposals:
        # here, not above: SciPy's solver takes longer to import than all passes, and only a time needs it
        from graphprune.pass_infra.unit_proposals import Knapsack, Rule, ScoredGroups, even_steps, levels

        groups = self.eligible(context)
        scores, notes = self.finite_scores(context, groups)
        most = self.most(context, sum(group.size for group in groups))
        scored = ScoredGroups(str(self), context, groups, scores, notes, most)
        multiples = context.widths.measured_for(groups)
        counts = levels(multiples, [self.least(group) for group in groups], groups)
        table = profiler.table(context.analysis, counts, even_steps(multiples, groups))
        if self.units_compete and not self.together(context, groups):
            return Knapsack(scored, table, counts)
        return Rule(lambda asked: self.choose(asked, groups, scores, notes), scored, table)

    @property
    def units_compete(self) -> bool:
        """Whether units of different groups compete;
        else the pass has a rule of its own for how much of each group goes.
        """
        return type(self).choose is UnitPass.choose and self.scope == "global"

    def own_target(self) -> Target | None:
        return None if self.ratio is None else Target("ratio", self.ratio)


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return ", ".join(names[:_FEW]) + more


def check_patterns(patterns: Sequence[str], groups: Sequence[Group]) -> None:
    """Refuse patterns that match no group.

    Raises
    ------
    OptionError
        One does not.
    """
    for pattern in patterns:
        if not any(matches(pattern, group) for group in groups):
            raise OptionError(f"no group or layer is named '{pattern}'", "graphprune inspect --groups lists the names")


def matches(pattern: str, group: Group) -> bool:
    """Whether a glob, or a regular expression after ``re:``, matches the group's name or that of one of its layers.

    Raises
    ------
    OptionError
        The regular expression is not one.
    """
    return is_match(pattern, (group.name, *group.writers, *group.readers))
