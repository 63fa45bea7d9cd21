"""In the log of a job there is a line now and then; short runs stay silent."""

from __future__ import annotations

import pytest

from graphprune.cli.progress_lines import ProgressLines
from graphprune.cli.show import Shown


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_line_now_and_then_with_the_rest() -> None:
    clock, told = Clock(), list[str]()
    lines = ProgressLines(told.append, clock)
    for step in range(100):
        clock.now += 7
        lines.progress("training", step, 100)
    assert told[0] == "graphprune: training, 4 of 100, about 11 minutes more\n"
    assert told[-1] == "graphprune: training, 99 of 100, about 7 seconds more\n"
    assert len(told) == 20


def test_a_new_task_is_timed_by_itself_and_one_without_an_end_has_no_rest() -> None:
    clock, told = Clock(), list[str]()
    lines = ProgressLines(told.append, clock)
    lines.progress("scoring", 0, 10)
    clock.now += 29
    lines.progress("scoring", 9, 10)
    assert told == []
    clock.now += 1000
    lines.progress("repair", 3, 6)
    clock.now += 3600
    lines.progress("repair", 4, 6)
    clock.now += 60
    lines.progress("reading", 5, 0)
    expected = ["repair, 3 of 6", "repair, 4 of 6, about 2.0 hours more", "reading"]
    assert told == [f"graphprune: {text}\n" for text in expected]


@pytest.mark.parametrize("quiet", [False, True])
def test_lines_go_to_stderr_unless_quiet(
    quiet: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphprune.cli.progress_lines.EVERY_SECONDS", 0.0)
    with Shown(None, quiet) as shown:
        shown.progress("training", 1, 4)
    out, err = capsys.readouterr()
    assert (out, err) == ("", "" if quiet else "graphprune: training, 1 of 4\n")
