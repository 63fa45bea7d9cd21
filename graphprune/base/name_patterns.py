"""Patterns on names, as users write them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from graphprune.errors import OptionError


def is_match(pattern: str, names: Iterable[str]) -> bool:
    """Whether a glob, or a regular expression after ``re:``, matches one of ``names``.

    Raises
    ------
    OptionError
        The regular expression is not one.
    """
    if not pattern.startswith("re:"):
        return any(fnmatchcase(name, pattern) for name in names)
    try:
        return any(re.search(pattern[3:], name) for name in names)
    except re.error as error:
        raise OptionError(f"'{pattern[3:]}' is no regular expression: {error}", "correct it") from None
