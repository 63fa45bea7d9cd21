"""How much healing: so many steps, so long, or as long as it helps."""

from __future__ import annotations

import re
from dataclasses import fields, replace

from graphprune.base.option_text import shown
from graphprune.errors import OptionError
from graphprune.training.options import TrainOptions

_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}
AUTO = "auto"


def healing(budget: str | int = AUTO, spec: str = "", **more: str | None) -> TrainOptions:
    """The training options of healing: ``400`` steps, ``10min`` (``30s``, ``2h``), or ``auto``.

    ``spec`` and ``more`` are further options, as in :meth:`graphprune.training.TrainOptions.parse`; they may also stand
    behind the budget: ``400,lr=1e-4``.

    Raises
    ------
    OptionError
        The budget is none of these, or an option does not fit.
    """
    amount, _, behind = str(budget).partition(",")
    spec = ",".join(filter(None, (behind, spec)))
    return TrainOptions.parse(spec, recipe="heal", **_amount(amount.strip()), **more)


def _amount(budget: str) -> dict[str, str]:
    if budget == AUTO:
        return {"until_still": "true"}
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|h)?", budget)
    if match is None or (match[2] is None and not match[1].isdecimal()):
        raise OptionError(f"'{budget}' is neither a number of steps nor a time", "write 400, 90s, 10min, 1h or auto")
    return {"steps": match[1]} if match[2] is None else {"seconds": f"{float(match[1]) * _UNITS[match[2]]:g}"}


def budget_of(options: TrainOptions) -> str:
    """What :func:`healing` reads as these options; where a checkpoint lies is not in it."""
    amount = AUTO if options.steps is None else str(options.steps)
    if options.seconds is not None:
        amount = f"{options.seconds:g}s"
    plain = healing(amount)
    learnt = replace(options, checkpoint=None, checkpoint_seconds=plain.checkpoint_seconds, resume=False, device="auto")
    changed = [each.name for each in fields(options) if getattr(learnt, each.name) != getattr(plain, each.name)]
    return ",".join([amount, *(f"{name.replace('_', '-')}={shown(getattr(learnt, name))}" for name in changed)])
