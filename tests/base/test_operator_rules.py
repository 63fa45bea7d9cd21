"""One rule for an operator in each version of its domain."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from graphprune.base.operator_rules import RuleBook
from graphprune.errors import GraphpruneError

Rule = Callable[[], str]


def elsewhere(path: Path) -> Rule:
    """A rule in a file of its own."""
    path.write_text("def theirs():\n    return 'theirs'\n")
    found: dict[str, Rule] = {}
    exec(compile(path.read_text(), str(path), "exec"), found)  # a file of a stranger's package
    return found["theirs"]


def mine() -> str:
    return "mine"


@pytest.mark.parametrize(("since", "until"), [(1, 99), (13, 99), (1, 7), (10, 10)])
def test_overlapping_rules_are_refused_and_both_files_named(since: int, until: int, tmp_path: Path) -> None:
    book: RuleBook[Rule] = RuleBook()
    book.rule("Pad", since=7, until=13)(mine)
    with pytest.raises(GraphpruneError, match=r"ai\.onnx::Pad has two rules for opset \d+: mine in ") as caught:
        book.rule("Neg", "Pad", since=since, until=until)(elsewhere(tmp_path / "their_rules.py"))
    assert __file__ in caught.value.message
    assert str(tmp_path / "their_rules.py") in caught.value.message


def test_other_versions_domains_and_operators_do_not_overlap(tmp_path: Path) -> None:
    book: RuleBook[Rule] = RuleBook()
    theirs = elsewhere(tmp_path / "their_rules.py")
    book.rule("Pad", since=7, until=12)(mine)
    book.rule("Pad", since=13)(theirs)
    book.rule("Pad", domain="their.domain")(theirs)
    book.rule("Neg")(theirs)
    assert book.find("", "Pad", 12) is mine
    assert book.find("", "Pad", 13) is theirs
    assert book.find("", "Pad", 6) is None
