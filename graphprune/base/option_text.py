"""Dataclass fields as options: ``key=value`` texts read by the fields' types, and values printed the same way."""

from __future__ import annotations

import types
import typing
from dataclasses import MISSING, Field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from graphprune.errors import OptionError

_LIST_SEPARATOR = "|"


def items(text: str, where: str, example: str) -> dict[str, str]:
    """Split ``key=value,key=value``; ``where`` and ``example`` are for the messages, ITEM in the latter is the item.

    Raises
    ------
    OptionError
        An item without ``=``, or a key given twice.
    """
    options: dict[str, str] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = item.partition("=")
        if not equals:
            raise OptionError(f"'{item}' in {where} is not key=value", f"write {example.replace('ITEM', item)}")
        if key.strip() in options:
            raise OptionError(f"option {key.strip()} is given twice in {where}", "keep one of them")
        options[key.strip()] = value.strip()
    return options


def default(field: Field[Any]) -> Any:
    """What a field is when nobody sets it."""
    return field.default_factory() if field.default_factory is not MISSING else field.default


def shown(value: Any) -> str:
    """A value as it is written in a spec."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return _LIST_SEPARATOR.join(value)
    return "auto" if value is None else str(value)


def parse(hint: Any, text: str, what: str) -> Any:
    """Read ``text`` as the type ``hint``; ``what`` begins the message.

    Raises
    ------
    OptionError
        The text is no such value.
    """
    options = get_args(hint)
    if get_origin(hint) in (typing.Union, types.UnionType):
        return None if text == "auto" else parse(options[0], text, what)
    if get_origin(hint) is Literal:
        if text not in options:
            raise OptionError(f"{what} is '{text}'", f"choose one of {', '.join(options)}")
        return text
    if get_origin(hint) is tuple:
        return tuple(text.split(_LIST_SEPARATOR))
    if hint is bool:
        if text.lower() not in ("true", "false"):
            raise OptionError(f"{what} is '{text}'", "write true or false")
        return text.lower() == "true"
    try:
        return hint(text)
    except ValueError:
        raise OptionError(f"{what} is '{text}', not a {hint.__name__}", "correct the value") from None


def type_text(hint: Any) -> str:
    """A type in the user's words."""
    if get_origin(hint) in (typing.Union, types.UnionType):
        return f"{type_text(get_args(hint)[0])} or auto"
    if get_origin(hint) is Literal:
        return " or ".join(get_args(hint))
    if get_origin(hint) is tuple:
        return f"names separated by {_LIST_SEPARATOR}"
    return "path" if hint is Path else str(hint.__name__)
