"""What somebody who has misspelt a name will have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def meant(word: str, known: Iterable[str]) -> str:
    """``; did you mean NAME`` for the end of a sentence; empty where nothing is near."""
    near = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {near[0]}" if near else ""
