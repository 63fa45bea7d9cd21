"""The command line in this process: fast, and its output is pytest's to capture."""

from __future__ import annotations

import pytest

from graphprune.cli import main


def command(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """Run ``graphprune WORDS`` and return its exit code."""
    monkeypatch.setattr("sys.argv", ["graphprune", *map(str, words)])
    return main._run()
