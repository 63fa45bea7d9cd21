"""Plan files: read, checked and written. Hands may have edited one, so nothing in it is taken for granted."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import Any

import msgspec

from graphprune.base.documents import plain, text
from graphprune.errors import InputError, PlanError
from graphprune.plan.faults import blocks_removed_twice, unit_faults
from graphprune.plan.plan import SCHEMA, Decision, Plan

REQUIRED = {"Decision": ("representations", "blocks"), "RemovedBlock": ("scores",), "RemovedUnits": ("scores",)}
"""What a file must have, though who makes a plan in Python may leave it out."""
_AGAIN = "make the plan again"
_WORDS = (
    (r"\.details", "the details of a score are no numbers by name"),
    (r"\.trajectory", "a step of the trajectory has an entry of the wrong type"),
    (r"\.units", "an entry of a group has the wrong type"),
    (r"^Expected `str`", "a name, the hash or a remark is not a text"),
)
"""What msgspec's complaint is about, the first that is found in it."""


def write(plan: Plan, path: Path) -> None:
    """Write the file; where that fails, none is left that was not there.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    existed = path.exists()
    try:
        path.write_text(text(plan))
    except OSError as error:
        if path.is_file() and not existed:
            path.unlink()
        raise InputError(f"cannot write the plan {path}: {error.strerror}", "choose another --plan-out") from None


def read(path: Path) -> Plan:
    """Read a plan file.

    Raises
    ------
    PlanError
        The file is missing, not JSON, of another schema, or incomplete.
    """
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise PlanError(f"cannot read the plan {path}: {error.strerror}", "check the path") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise PlanError(f"{path} is not JSON ({error})", "give a file written by --plan-out") from None
    return decode(content, str(path))


def decode(content: Any, origin: str) -> Plan:
    """The plan that is in the content of a JSON file; messages name ``origin``. PlanError where there is none."""
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise PlanError(f"{origin} has schema {schema!r}, this graphprune reads {SCHEMA!r}", _AGAIN)
    try:
        plan = msgspec.convert(content, Plan)
    except msgspec.ValidationError as error:
        raise _incomplete(origin, _in_words(str(error), content)) from None
    if place := next(itertools.chain(_missing(content), _unknown(content, plain(plan), "")), None):
        raise _incomplete(origin, place)
    _check_figures(plan, origin)
    _check_blocks(plan, origin)
    for decision in plan.decisions:
        _check_units(decision, origin)
    return plan


def _incomplete(origin: str, why: str) -> PlanError:
    return PlanError(f"{origin} is incomplete or has unknown entries: {why}", _AGAIN)


def _in_words(complaint: str, content: Any) -> str:
    """What an entry of the wrong type means, with msgspec's text, which names the place."""
    if place := re.search(r"\$\.decisions\[(\d+)\]\.units\[(\d+)\]\.removed", complaint):
        units = content["decisions"][int(place[1])]["units"][int(place[2])]
        return f"it removes units {units['removed']} ({complaint})"
    return next((f"{words} ({complaint})" for pattern, words in _WORDS if re.search(pattern, complaint)), complaint)


def _missing(content: dict[str, Any]) -> Iterator[str]:
    """Places of required entries that are not there."""
    for number, decision in enumerate(content["decisions"]):
        here = f"decisions[{number}]"
        yield from (f"{here}.{name}" for name in REQUIRED["Decision"] if name not in decision)
        for part, kind in (("blocks", "RemovedBlock"), ("units", "RemovedUnits")):
            for index, entry in enumerate(decision.get(part, ())):
                yield from (f"{here}.{part}[{index}].{name}" for name in REQUIRED[kind] if name not in entry)


def _unknown(given: Any, known: Any, place: str) -> Iterator[str]:
    """Places of entries that were given and not read: msgspec passes over those that a dataclass does not have."""
    if isinstance(given, dict):
        for name, value in given.items():
            here = f"{place}.{name}".removeprefix(".")
            if name in known:
                yield from _unknown(value, known[name], here)
            else:
                yield here
    elif isinstance(given, list | tuple):
        for index, (value, other) in enumerate(zip(given, known, strict=True)):
            yield from _unknown(value, other, f"{place}[{index}]")


def _check_figures(plan: Plan, origin: str) -> None:
    """Refuse NaN and infinity, which Python's JSON may hold, where nothing that a pass writes has them."""
    for score in (score for block in plan.blocks for score in block.scores):
        if not all(isfinite(value) for value in score.details.values()):
            raise _incomplete(origin, f"the details of the score of {score.unit} are no numbers by name")
    for step in plan.trajectory:
        figures = (step.score, step.rival_score, step.latency_ratio)
        if not all(isfinite(figure) for figure in figures if figure is not None):
            raise _incomplete(origin, f"a step of the trajectory has a figure that is no number: {step}")


def _check_blocks(plan: Plan, origin: str) -> None:
    for block in blocks_removed_twice(plan.blocks):
        raise PlanError(f"{origin} removes {block.name} twice", "delete one of the entries")


def _check_units(decision: Decision, origin: str) -> None:
    for fault in unit_faults(decision.units):
        name, units = fault.units.group, fault.units
        if fault.kind == "group twice":
            raise PlanError(f"{origin} lists {name} twice in one decision", "join the entries")
        if fault.kind == "nothing left":
            raise PlanError(f"{origin} removes every unit of {name}", "leave at least one")
        raise PlanError(
            f"{origin} removes units {list(units.removed)} of {name}, which has {units.size}",
            "list each index once, from 0 to the size",
        )
