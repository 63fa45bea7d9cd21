"""What ``graphprune passes`` shows."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from graphprune import passes
from graphprune.base.documents import Document
from graphprune.pass_infra.base import OptionInfo, option_infos


@dataclass(frozen=True)
class PassEntry:
    """``summary`` is the first line of its docstring, ``paper`` where the method comes from."""

    name: str
    summary: str
    paper: str
    options: tuple[OptionInfo, ...]


class PassListing(Document, frozen=True, tag="graphprune.passes/1"):
    """Every pass there is."""

    passes: tuple[PassEntry, ...]


def pass_listing(names: Sequence[str] = ()) -> PassListing:
    """Name, summary, paper and options of every pass, or of those in ``names``.

    Raises
    ------
    OptionError
        There is no such pass.
    """
    kinds = [passes.find(name) for name in names or passes.names()]
    return PassListing(
        tuple(
            PassEntry(
                name=kind.name,
                summary=(kind.__doc__ or "").strip().splitlines()[0],
                paper=kind.paper,
                options=tuple(option_infos(kind)),
            )
            for kind in kinds
        )
    )


def print_passes(listing: PassListing) -> None:
    """Print names and summaries; what else there is to say of a pass stands under its name."""
    console = Console(highlight=False)
    table = Table.grid(padding=(0, 2))
    for entry in listing.passes:
        table.add_row(f"[bold]{entry.name}[/]", escape(entry.summary))
    console.print(table)
    console.print("\ngraphprune passes NAME tells its method, paper and options; --json all of that for every pass.")


def print_details(names: Sequence[str]) -> None:
    """Of each pass what its file says: the method, where it departs from the paper, its options and an example.

    Raises
    ------
    OptionError
        There is no such pass.
    """
    console = Console(highlight=False)
    for name, entry in zip(names, pass_listing(names).passes, strict=True):
        kind = passes.find(name)
        console.print(f"[bold]{entry.name}[/]  [dim]{escape(entry.paper)}[/]\n")
        about = _paragraphs(sys.modules[kind.__module__].__doc__)
        if about:
            first = about[0].removeprefix(f"Pass {entry.name}: ")
            about[0] = first[:1].upper() + first[1:]
        for paragraph in (*about, *_paragraphs(kind.__doc__)[1:]):
            console.print(f"{escape(paragraph)}\n")
        _print_options(console, entry)
        console.print(f"\n  graphprune model.onnx --pass {entry.name} --data calib.npz -o small.onnx")


def _paragraphs(doc: str | None) -> list[str]:
    """Of a docstring, each in a line of its own, for a terminal to break."""
    text = re.sub(r":\w+:`([^`]*)`|``([^`]*)``", lambda found: found[1] or found[2], inspect.cleandoc(doc or ""))
    return [" ".join(each.split()) for each in text.split("\n\n") if each.strip()]


def _print_options(console: Console, entry: PassEntry) -> None:
    for option in entry.options:
        console.print(f"  {option.name} = {option.default or '(none)'}  ({escape(option.type)})")
        console.print(Padding(escape(option.help), (0, 0, 0, 6)))
