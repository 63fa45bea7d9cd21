"""Targets: what the user asks for, and whether a model has reached it. Pure arithmetic."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, get_args

from graphprune.analysis.cost import Cost
from graphprune.errors import OptionError

TargetKind = Literal["flops", "params", "removed", "ratio", "latency", "tokens-per-s", "ttft", "rule"]

GENERATION = ("tokens-per-s", "ttft")
"""Targets that generation is timed for."""
Unit = Literal["", "ms", "/s"]
_UNITS: dict[str, Unit] = {"latency": "ms", "ttft": "ms", "tokens-per-s": "/s"}
_EXAMPLES = {"latency": "latency=5ms", "ttft": "ttft=50ms", "tokens-per-s": "tokens-per-s=40/s"}
_MOST_SPEED_UP = 10
"""From here on, a number without a unit is one of tokens, not of times: no cut makes a network that much faster."""


@dataclass(frozen=True)
class Target:
    """``flops=0.5`` and ``params=0.5``: the share that is *left*; ``removed=10``: the number of units that go;
    ``ratio=0.3``: the share of the units considered that goes, to the nearest unit; ``latency=0.6``:
    the share of the measured time that is left, or, with the ``unit`` ms, ``latency=5ms``. Of decoders with a cache
    ``ttft=0.7`` is the share of the time to the first token that is left, or ``ttft=50ms`` that time;
    ``tokens-per-s=1.3`` is the speed-up of those after it, or, with the ``unit`` /s or from 10 on, their number in a
    second, of all samples together: ``tokens-per-s=40``. Only a measurement tells whether a time is reached. ``rule``:
    how much goes is for the pass to say, which has a rule of its own for it.
    """

    kind: TargetKind
    value: float
    unit: Unit = ""

    def __str__(self) -> str:
        if self.kind == "rule":
            return self.kind
        if self.kind == "tokens-per-s" and not self.unit and self.value >= _MOST_SPEED_UP:
            return f"{self.kind}={100 * self.value:g}%"
        return f"{self.kind}={self.value:g}{self.unit}"

    @property
    def is_time(self) -> bool:
        """Whether it is measured, not computed."""
        return self.kind == "latency" or self.kind in GENERATION

    def turned(self, value: float) -> float:
        """A time, as a share of the original's or in milliseconds, in the target's own figure; and back."""
        if self.kind != "tokens-per-s":
            return value
        return (1000 if self.unit else 1) / value

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read ``kind=value``; ``50%`` is 0.5.

        Raises
        ------
        OptionError
            Unknown kind, or a value outside the kind's range.
        """
        text = str(text)  # a number too is told what it lacks
        kind, _, number = text.partition("=")
        if text == str(OWN_RULE):
            return OWN_RULE
        kinds = [kind for kind in get_args(TargetKind) if kind != OWN_RULE.kind]
        if re.fullmatch(r"[\d.]+%?", text.strip()):
            raise OptionError(
                f"target {text} does not say of what",
                "write flops=0.5 or params=0.5 for the share left, ratio=0.3 for the share of units that goes",
            )
        if kind not in kinds:
            raise OptionError(f"'{text}' is no target", f"write one of {', '.join(f'{k}=VALUE' for k in kinds)}")
        own = _UNITS.get(kind, "")
        unit: Unit = own if own and number.endswith(own) else ""
        is_percent = kind != "removed" and number.endswith("%")
        try:
            value = float(number.removesuffix("%" if is_percent else unit)) / (100 if is_percent else 1)
        except ValueError:
            raise OptionError(f"target '{text}' has no number after '='", f"write for example {kind}=...") from None
        if kind == "removed" and not (value >= 1 and value.is_integer()):
            raise OptionError(f"target '{text}' must be a whole number of at least 1", "write for example removed=4")
        if unit and not 0 < value < float("inf"):
            what = "a time" if unit == "ms" else "a number of tokens"
            raise OptionError(f"target '{text}' must be {what} above 0", f"write for example {_EXAMPLES[kind]}")
        if kind == "tokens-per-s" and not unit and not 1 < value < float("inf"):
            raise OptionError(
                f"target '{text}' must be above 1: it is how many times as many tokens come in a second",
                f"write for example tokens-per-s=1.3, or a number of tokens such as {_EXAMPLES[kind]}",
            )
        if kind == "tokens-per-s" and value >= _MOST_SPEED_UP and not is_percent:
            unit = "/s"
        if kind not in ("removed", "tokens-per-s") and not unit and not 0 < value < 1:
            share = "that goes" if kind == "ratio" else "left"
            or_time = f", or a time such as {_EXAMPLES[kind]}" if kind in _EXAMPLES else ""
            raise OptionError(
                f"target '{text}' must lie between 0 and 1: it is the share {share}", f"write {kind}=0.5{or_time}"
            )
        return cls(kind, value, unit)  # type: ignore[arg-type]  # narrowed by the check against get_args

    def reached(self, dense: Cost, now: Cost, removed: int, considered: int = 0) -> float:
        """The figure to compare with ``value``: the share left, the units removed,
        or their share of those considered.
        """
        assert not self.is_time, "a time is measured, not computed"
        if self.kind in ("removed", "rule"):
            return removed
        if self.kind == "ratio":
            return removed / max(1, considered)
        return now.macs / max(1, dense.macs) if self.kind == "flops" else now.params / max(1, dense.params)

    def progress(self, dense: Cost, now: Cost, removed: int, considered: int = 0) -> float:
        """How much of the way to the target is done, from 0 to 1."""
        reached = self.reached(dense, now, removed, considered)
        done = (1 - reached) / (1 - self.value) if self.kind in ("flops", "params") else reached / self.value
        return min(1.0, max(0.0, done))

    def is_met(self, dense: Cost, now: Cost, removed: int, considered: int = 0) -> bool:
        if self.kind == "ratio":
            return removed >= round(self.value * considered)
        reached = self.reached(dense, now, removed)
        return reached >= self.value if self.kind in ("removed", "rule") else reached <= self.value


OWN_RULE: Final = Target("rule", 1)
"""Met by whatever a pass takes by its own rule, so long as that is anything."""
