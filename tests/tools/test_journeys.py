"""The pages that tools write show what the tools have."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tools.checks import beside_others, journeys, page_table


def rows(page: Path, mark: str) -> list[str]:
    """The body of the table between the marks."""
    table = page.read_text(encoding="utf-8").split(mark)[1]
    return [line for line in table.splitlines() if line.startswith("|")][2:]


def test_the_page_has_the_ten_journeys() -> None:
    shown = rows(journeys.PAGE, journeys._MARK)
    assert len(shown) == len(journeys.JOURNEYS) == 10
    for journey, row in zip(journeys.JOURNEYS, shown, strict=True):
        assert row.startswith(f"| {journey.title} |") and journey.words in row
        assert "**exit" not in row


def test_a_journey_fails_where_its_command_does_or_is_too_wide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the exit code, the last line of what was said, and the widest line; the names of files may be long."""
    monkeypatch.setattr(journeys, "networks", lambda: sys.modules[__name__])
    script = tmp_path / "tool"
    for text, is_good in (("echo short", True), (f"echo {'x' * 81}", False), (f"echo wrote {'x' * 90}", True)):
        script.write_text(f"#!/bin/sh\n{text}\n")
        script.chmod(0o755)
        journey = journeys.Journey("a", "a", "nothing", "", lambda _: iter(["told"]), program=str(script))
        outcome = journeys.walk(journey, tmp_path / "folder")
        assert (outcome.is_good, outcome.facts) == (is_good, "told")
    script.write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    outcome = journeys.walk(journey, tmp_path / "folder")
    assert (outcome.code, outcome.facts, outcome.is_good) == (3, "broken", False)


def nothing(folder: Path) -> None:
    """What the journey of the test begins with."""


def test_lines_beside_others_are_those_of_the_scripts() -> None:
    text = beside_others.PAGE.read_text(encoding="utf-8")
    for script in sorted(beside_others.SCRIPTS.glob("*_*.py")):
        job, _, tool = script.stem.partition("_")
        anchor = f"{job}-{tool.replace('_', '-')}"
        assert f"[{beside_others.lines(script)} lines](#{anchor})" in text
        assert f"#{anchor} }}" in text and f'"docs/beside/{script.name}"' in text
    assert len(re.findall("not run", "".join(rows(beside_others.PAGE, beside_others._MARK)))) == 1


def test_rows_that_were_not_made_anew_stay(tmp_path: Path) -> None:
    page, titles = tmp_path / "page.md", {"a": "first", "b": "second", "c": "third"}
    page.write_text("above MARK\n| h |\n|---|\n| second | old |\n| first | old |\nfoot\nMARK below")
    page_table.renew(page, "MARK", ["| h |", "|---|"], titles, {"b": "| second | new |"}, "foot")
    assert page.read_text() == "above MARK\n| h |\n|---|\n| first | old |\n| second | new |\nfoot\nMARK below"
