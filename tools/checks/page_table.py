"""A table of a page that a tool writes, between two marks; rows that were not made anew stay as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path


def renew(
    page: Path, mark: str, head: Sequence[str], titles: Mapping[str, str], rows: Mapping[str, str], foot: str = ""
) -> None:
    """Put ``rows``, by name, into the table of ``page``; each begins with the title of its name, in whose order they
    stand. ``head`` are the two lines above them, ``foot`` what stands below.
    """
    before, old, after = page.read_text(encoding="utf-8").split(mark)
    known = {
        name: line for line in old.splitlines() for name, title in titles.items() if line.startswith(f"| {title} |")
    }
    every = known | dict(rows)
    text = "\n".join(["", *head, *(every[name] for name in titles if name in every), *([foot] if foot else []), ""])
    page.write_text(f"{before}{mark}{text}{mark}{after}", encoding="utf-8")
