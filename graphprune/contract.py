"""What a pass is: a frozen dataclass whose fields are its options, and which turns a context into a decision.

A pass prints as, and parses from, ``layer-cka{floor=1,debiased=true}``. Passes decide, ``rewrite`` does.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

from graphprune.anatomy import Anatomy
from graphprune.bench.alignment import multiple_for, narrowed
from graphprune.cost import Cost
from graphprune.data import Data
from graphprune.errors import OptionError
from graphprune.fields import default, items, parse, shown, type_text
from graphprune.model import Model
from graphprune.oracle import Removal
from graphprune.plan import Decision
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.runtime.sizes import Sizes
from graphprune.structure.blocks import Join
from graphprune.target import Target
from graphprune.workers import Workers


class Progress(Protocol):
    """Called with what is being done, how many steps are done and how many there are (0 = not known)."""

    def __call__(self, task: str, done: int, total: int, /) -> None: ...


@dataclass(frozen=True)
class Context:
    """What a pass may look at.

    ``anatomy`` is the model with its structure. ``dense`` is the cost before the first pass, ``now`` the present one,
    ``removed_before`` the units that earlier passes took, of the ``considered_before`` that they looked at; ``is_last`` tells
    that no later pass can help to reach the target. Kept widths are to be multiples of ``align``, see :meth:`multiple`; ``cache_dir``
    keeps the times that tell what the runtime likes, ``finest`` lets ``auto`` go below its multiple, by halves down
    to this.
    ``in_rounds`` tells that training follows each removal: a pass then takes one block, or a tenth of its units, and is asked
    again. ``origin`` is the network as given (default: ``model``), ``steps`` led from there to ``model``, whose weights have
    followed if it ``is_repaired``; ``repairs`` are made at the end. ``workers`` may score parts of the candidates; None = this
    process does it. Timings are for ``bench_batch`` samples.
    """

    anatomy: Anatomy
    data: Data
    target: Target
    dense: Cost
    now: Cost
    removed_before: int
    considered_before: int
    is_last: bool
    seed: int
    batch: int
    align: int | Literal["auto"]
    options: RuntimeOptions
    progress: Progress
    in_rounds: bool = False
    workers: Workers | None = None
    bench_batch: int = 1
    cache_dir: Path | None = None
    finest: int | None = None
    origin: Model | None = None
    steps: tuple[Removal, ...] = ()
    is_repaired: bool = True
    repairs: tuple[str, ...] = ()

    def multiple(self, size: int) -> int:
        """The multiple in which a width of ``size`` is kept; with ``auto`` what is left for a narrow one of what the runtime likes."""
        return narrowed(self.step, size) if self.align == "auto" else self.align

    @property
    def step(self) -> int:
        """The multiple for wide groups."""
        return multiple_for(self.options, self.cache_dir) if self.align == "auto" else self.align

    def finer(self) -> Context | None:
        """With half of the least count, where multiples are ours to choose and it is not one yet."""
        least = (self.step if self.finest is None else self.finest) // 2 if self.align == "auto" else 0
        return replace(self, finest=least) if least else None

    @property
    def model(self) -> Model:
        return self.anatomy.model

    @property
    def sizes(self) -> Sizes:
        return self.anatomy.sizes

    @property
    def joins(self) -> list[Join]:
        return self.anatomy.joins

    def is_met(self, now: Cost, removed: int, considered: int) -> bool:
        """Whether the target is met when this pass has taken ``removed`` of ``considered`` units."""
        gone, seen = self.removed_before + removed, self.considered_before + considered
        return self.target.is_met(self.dense, now, gone, seen)


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
