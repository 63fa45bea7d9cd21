"""JSON documents: what a value looks like in them, and the base of those that name a versioned schema."""

from __future__ import annotations

import json
from typing import Any

import msgspec


class Document(msgspec.Struct, frozen=True, tag_field="schema"):
    """A value that is written as JSON; ``tag`` of a subclass is the schema, and the first entry of the file.

    The number at the end of the schema counts up when a field changes its meaning.
    """

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, with a versioned ``schema``."""
        content: dict[str, Any] = plain(self)
        return content

    def to_json(self) -> str:
        return text(self)


def plain(value: Any) -> Any:
    """``value`` with dicts in place of dataclasses and structs."""
    return msgspec.to_builtins(value, enc_hook=_of_a_subclass)


def text(value: Any) -> str:
    """The JSON file of ``value``. Not msgspec's own, which writes null for NaN and floats in another form."""
    return json.dumps(plain(value), indent=2) + "\n"


def _of_a_subclass(value: object) -> float | str:
    """A float or text of NumPy's as one of Python's, as ``json`` takes them. NotImplementedError for anything else."""
    for kind in (float, str):
        if isinstance(value, kind):
            return kind(value)
    raise NotImplementedError
