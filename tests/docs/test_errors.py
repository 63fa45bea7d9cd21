"""The page on errors has every exit code, and messages that the code has, too."""

from __future__ import annotations

import re
from collections.abc import Iterator

from graphprune import errors
from graphprune.errors import GraphpruneError
from tests.docs.pages import ROOT, page

_TABLES = page("errors.md").split("## Messages you may meet")


def subclasses(of: type[GraphpruneError]) -> Iterator[type[GraphpruneError]]:
    for each in of.__subclasses__():
        if each.__module__ == errors.__name__:
            yield each
            yield from subclasses(each)


def test_every_exit_code_stands_beside_its_error() -> None:
    rows = dict(re.findall(r"^\| (\d+) \|(.*)\|$", _TABLES[0], re.MULTILINE))
    for error in subclasses(GraphpruneError):
        if error.exit_code != GraphpruneError.exit_code:
            assert f"`{error.__name__}`" in rows[str(error.exit_code)]
    assert {"0", "2", "70", "130"} < set(rows)


def test_messages_are_those_of_the_code() -> None:
    code = "\n".join(path.read_text() for folder in ("graphprune", "passes") for path in (ROOT / folder).rglob("*.py"))
    quoted = re.findall(r"^\| `([^`]+)`", _TABLES[1], re.MULTILINE)
    assert len(quoted) > 8
    for message in quoted:
        for piece in filter(None, (piece.strip() for piece in message.split("…"))):
            assert piece.removesuffix(":") in code, f"no message says '{piece}'"
