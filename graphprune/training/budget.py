"""How much healing: so many steps, so long, or as long as it helps."""

from __future__ import annotations

import re

from graphprune.errors import OptionError
from graphprune.training.options import TrainOptions

_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}
AUTO = "auto"


def healing(budget: str | int = AUTO, spec: str = "", **more: str | None) -> TrainOptions:
    """The training options of healing: ``400`` steps, ``10min`` (``30s``, ``2h``), or ``auto``.

    ``spec`` and ``more`` are further options, as in :meth:`graphprune.training.TrainOptions.parse`.

    Raises
    ------
    OptionError
        The budget is none of these, or an option does not fit.
    """
    return TrainOptions.parse(spec, recipe="heal", **_amount(str(budget).strip()), **more)


def _amount(budget: str) -> dict[str, str]:
    if budget == AUTO:
        return {"until_still": "true"}
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|h)?", budget)
    if match is None or (match[2] is None and not match[1].isdecimal()):
        raise OptionError(f"'{budget}' is neither a number of steps nor a time", "write 400, 90s, 10min, 1h or auto")
    return {"steps": match[1]} if match[2] is None else {"seconds": f"{float(match[1]) * _UNITS[match[2]]:g}"}


def budget_of(options: TrainOptions) -> str:
    """The budget that these options have, as :func:`healing` reads it."""
    if options.seconds is not None:
        return f"{options.seconds:g}s"
    return AUTO if options.steps is None else str(options.steps)
