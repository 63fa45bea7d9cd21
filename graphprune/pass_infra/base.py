"""What a pass is: a frozen dataclass whose fields are its options, and which turns a context into a decision.

A pass prints as, and parses from, ``layer-cka{floor=1,debiased=true}``. Passes decide, ``rewrite`` does.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

from graphprune.base.option_text import default, items, parse, shown, type_text
from graphprune.errors import OptionError
from graphprune.pass_infra.context import Context
from graphprune.plan.plan import Decision


@dataclass(frozen=True)
class Pass:
    """Base of all passes. Subclasses are frozen dataclasses with a kebab-case ``name`` and the ``paper`` they follow.

    ``needs_data`` tells whether the scores come from samples; without any, the user is warned accordingly.

    Every field is an option: typed, with a default, and with its one-line description in ``metadata["help"]``.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    needs_data: ClassVar[bool] = True

    def decide(self, context: Context) -> Decision:
        """Choose units until ``context.target`` is met or a constraint stops the pass.

        Raises
        ------
        NothingToPrune
            No candidate at all.
        """
        raise NotImplementedError

    def steps(self, context: Context) -> Iterator[Decision]:
        """One decision after another until the target is met, each on what the one before left; most passes make one only.

        With ``context.in_rounds`` the first step is all: the pass is asked again.
        """
        yield self.decide(context)

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
                raise OptionError(f"pass {cls.name} has no option '{key}'", f"its options are: {offered}")
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
