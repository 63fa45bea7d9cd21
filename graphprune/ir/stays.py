"""What the user wants to stay, by names; part of a model, so that whatever is made of it keeps to that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from graphprune.base.did_you_mean import meant
from graphprune.base.name_patterns import is_match
from graphprune.errors import OptionError


@dataclass(frozen=True)
class Stays:
    """``keep``: what is named so stays; ``only``: what is not stays. Globs, or regular expressions after ``re:``."""

    keep: tuple[str, ...] = ()
    only: tuple[str, ...] = ()

    def why(self, name: str, own: Sequence[str], touched: Sequence[str] = ()) -> str:
        """Why what is named so stays; empty where it need not.

        ``own`` are its layers, ``touched`` those that it reaches into. It is kept for the sake of any of these, and is
        among the only ones by its own name, or with all of its own layers.
        """
        for pattern in self.keep:
            if is_match(pattern, (name, *own, *touched)):
                return f"it is to stay (keep {pattern})"
        for pattern in self.only:
            if is_match(pattern, [name]) or (own and all(is_match(pattern, [each]) for each in own)):
                return ""
        return f"it is not among what may go (only {'|'.join(self.only)})" if self.only else ""

    def check(self, names: Iterable[str]) -> None:
        """Refuse patterns that fit none of ``names``.

        Raises
        ------
        OptionError
            One does not, or is no regular expression.
        """
        known = list(dict.fromkeys(names))
        for pattern in (*self.keep, *self.only):
            if not is_match(pattern, known):
                raise OptionError(
                    f"nothing in the model is named '{pattern}'{meant(pattern, known)}",
                    "graphprune inspect and inspect --groups list the names",
                )


NOTHING_STAYS = Stays()
