"""The worked examples of a pass and of an axis rule are run as they stand on their pages."""

from __future__ import annotations

from typing import Any

import pytest

from graphprune.axes.rules import BOOK, CONTRIB
from tests.docs.pages import blocks, page
from tests.pass_infra.test_contract import asked


def carried_out(code: str, names: dict[str, Any]) -> dict[str, Any]:
    """What our own page's code makes, beside ``names``; no __future__ of this file counts there."""
    exec(compile(code, "page", "exec", dont_inherit=True), names)
    return names


def test_the_pass_works() -> None:
    made = carried_out(blocks(page("extending/pass.md"), "python")[0], {})
    result = asked(made["LastBlock"](), "removed=2")
    assert [removed.join for removed in result.plan.blocks] == ["join2", "join1"]
    assert result.plan.blocks[0].macs > 0


def test_the_axis_rule_frees_what_its_absence_froze(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BOOK, "entries", {key: list(rules) for key, rules in BOOK.entries.items()})
    without, with_rule = blocks(page("extending/axis_rule.md"), "python")[:2]
    made = carried_out(without, {})
    assert not any(row.prunable for row in made["before"].rows)
    assert [f"{row.op}" for row in made["before"].missing] == [f"{CONTRIB}::SampleOp"]
    carried_out(with_rule, made)
    assert [(row.size, row.writers) for row in made["after"].rows if row.prunable] == [(8, ("first",))]
    (removed,) = made["result"].plan.units
    assert len(removed.removed) == 4
    assert made["result"].validation.max_relative_error <= 1e-4
