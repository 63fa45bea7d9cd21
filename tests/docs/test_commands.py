"""The commands of the pages run, in the order in which they stand: some read what others write."""

from __future__ import annotations

import ast
from pathlib import Path
from textwrap import dedent

import pytest

from graphprune.errors import NotFaster
from tests.docs.pages import DOCS, blocks, console_commands, page, run

_PAGES = ("command_line.md", "targets.md")


@pytest.mark.slow
@pytest.mark.parametrize("name", _PAGES)
def test_commands_run(checkout: Path, shallow: Path, name: str) -> None:
    (checkout / "model.onnx").unlink()
    (checkout / "model.onnx").symlink_to(shallow)  # any network would do
    commands = [c for c in console_commands(page(name)) if c.startswith("graphprune")]
    assert commands
    for command in commands:
        done = run(command, checkout)
        if done.returncode == NotFaster.exit_code and "faster than the original" in done.stderr:
            done = run(command, checkout)  # so small a network may lose a race on a busy machine, but not twice
        assert done.returncode == 0, f"{command}\n{done.stderr}"


def test_python_of_the_pages_parses() -> None:
    pages = sorted(DOCS.rglob("*.md"))
    assert len(pages) > 30
    for path in pages:
        for code in blocks(path.read_text(encoding="utf-8"), "python"):
            ast.parse(dedent(code), str(path))
