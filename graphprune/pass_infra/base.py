"""What a pass is: a frozen dataclass whose fields are its options, and which turns a context into a decision.

A pass prints as, and parses from, ``layer-cka{floor=1,debiased=true}``. Passes decide, ``rewrite`` does.
"""

from __future__ import annotations

import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self, final

import msgspec

from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.base.did_you_mean import meant
from graphprune.base.option_text import default, items, parse, shown, type_text
from graphprune.data.dataset import Data
from graphprune.errors import OptionError
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.decision_check import check_decision
from graphprune.pass_infra.proposals import ByMacs, Profiler, Proposals
from graphprune.plan.goal import Goal
from graphprune.plan.plan import Decision
from graphprune.plan.target import Target
from graphprune.repair.stage import Method

CarryOut = Callable[[ModelAnalysis, Decision], ModelAnalysis]
"""Has a decision rewritten; the network after it."""
Choices = Callable[[Goal], Decision]
"""What a pass decides for a goal."""


@dataclass(frozen=True)
class Pass(ABC):
    """Base of all passes. Subclasses are frozen dataclasses with a kebab-case ``name`` and the ``paper`` they follow.

    ``needs_data`` tells whether the scores come from samples; without any, the user is warned accordingly.
    ``is_coarse`` tells that it takes so much at once that, of several passes on the way to a time,
    a later one should close the gap.

    Every field is an option: typed, with a default, and with its one-line description in ``metadata["help"]``.
    A pass is run by :meth:`run`; a subclass says in :meth:`decide` what goes,
    and that may be all of it (docs/extending/pass.md has one).
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    needs_data: ClassVar[bool] = True
    is_coarse: ClassVar[bool] = True

    @final
    def run(self, context: Context, carry_out: CarryOut) -> Iterator[tuple[Decision, ModelAnalysis]]:
        """Each decision, carried out, with the network after it.
        What the pass requires and ensures is checked around them.

        Raises
        ------
        PassError
            A decision does not fit the network that it was made for.
        """
        self.requires(context)
        for decision in self.decisions(context):
            self.ensures(context, decision)
            after = carry_out(context.analysis, decision)
            context = replace(context, analysis=after)
            yield decision, after

    @abstractmethod
    def decide(self, context: Context) -> Decision:
        """Choose units until ``context.goal`` is met or a constraint stops the pass.

        Raises
        ------
        NothingToPrune
            No candidate at all.
        """

    def decisions(self, context: Context) -> Iterator[Decision]:
        """One decision after another until the target is met, each on what the one before left;
        most passes make one only.

        With ``context.goal.in_rounds`` the first decision is all: the pass is asked again.
        """
        yield self.decide(context)

    @classmethod
    def goes_in_steps(cls) -> bool:
        """Whether it makes one decision after another."""
        return cls.decisions is not Pass.decisions

    def requires(self, context: Context) -> None:  # noqa: B027  # most passes work with any option and target
        """Refuse options and targets that the pass cannot work with; called before it decides.

        Raises
        ------
        GraphpruneError
            One of its subclasses, as fits.
        """

    def ensures(self, context: Context, decision: Decision) -> None:
        """Refuse a decision that does not fit ``context.analysis``, the network that it was made for.

        Raises
        ------
        PassError
            It names what is not there, or twice.
        """
        check_decision(str(self), context.analysis, decision)

    def proposals(self, context: Context, profiler: Profiler) -> Proposals:
        """What it would remove so that a share of the present time is left;
        here what it decides for that share of the MACs.
        """
        return ByMacs(self.decide, context)

    def choices(self, context: Context, stack: ExitStack) -> Choices:
        """What it decides for one goal after another, on the same network; from one scoring where that is possible.

        What must stay open between two goals is entered into ``stack``.
        """
        return lambda goal: self.decide(replace(context, goal=goal))

    def limit_rules(self, context: Context) -> list[str]:
        """What may stand between the pass and its target; nothing where it cannot be said in words."""
        return []

    def own_repair(self, analysis: ModelAnalysis, data: Data) -> tuple[Method, ...] | None:
        """The repairs that belong to the pass on this network, where the user names none; None: the usual ones."""
        return None

    def own_target(self) -> Target | None:
        """What its options ask for where the user gives no target."""
        return None

    def check_types(self) -> None:
        """Refuse options of another type than they have: Python lets anything through.

        Raises
        ------
        OptionError
            It names the option.
        """
        hints = typing.get_type_hints(type(self))
        for each in fields(self):
            value = getattr(self, each.name)
            try:
                msgspec.convert(value, hints[each.name])
            except msgspec.ValidationError:
                raise OptionError(
                    f"option {each.name} of pass {self.name} is {value!r}", f"write {type_text(hints[each.name])}"
                ) from None

    def __str__(self) -> str:
        changed = [f"{f.name}={shown(value)}" for f in fields(self) if (value := getattr(self, f.name)) != default(f)]
        return f"{self.name}{{{','.join(changed)}}}" if changed else self.name

    @classmethod
    def from_options(cls, options: dict[str, str]) -> Self:
        """Build from ``key=value`` texts.

        Raises
        ------
        OptionError
            An unknown option, or a value that does not fit its type.
        """
        hints = typing.get_type_hints(cls)
        known = {f.name for f in fields(cls)}
        values: dict[str, Any] = {}
        for key, text in options.items():
            name = key.replace("-", "_")
            if name not in known:
                offered = ", ".join(sorted(known)) or "none"
                raise OptionError(
                    f"pass {cls.name} has no option '{key}'{meant(name, known)}", f"its options are: {offered}"
                )
            values[name] = parse(hints[name], text, f"option {key} of pass {cls.name}")
        return cls(**values)


@dataclass(frozen=True)
class OptionInfo:
    """An option of a pass as users see it."""

    name: str
    type: str
    default: str
    help: str


def option_infos(kind: type[Pass]) -> list[OptionInfo]:
    """The options of a pass, in the order of its fields."""
    hints = typing.get_type_hints(kind)
    return [
        OptionInfo(f.name, type_text(hints[f.name]), shown(default(f)), str(f.metadata.get("help", "")))
        for f in fields(kind)
    ]


def parse_spec(spec: str, find: Callable[[str], type[Pass]]) -> Pass:
    """Read ``name`` or ``name{key=value,...}``; ``find`` looks the name up."""
    name, brace, rest = spec.partition("{")
    if brace and not rest.endswith("}"):
        raise OptionError(f"pass spec '{spec}' has no closing brace", f"write {name}{{key=value}}")
    options = items(rest.removesuffix("}"), f"pass spec '{spec}'", f"{name}{{ITEM=...}}")
    return find(name.strip()).from_options(options)
