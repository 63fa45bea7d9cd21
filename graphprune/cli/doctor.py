"""``graphprune doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from graphprune.cli.grouped import GroupedCommand
from graphprune.cli.json_output import json_option, write_json
from graphprune.errors import RuntimeMissing

if TYPE_CHECKING:
    from rich.console import Console

    from graphprune.doctor.checks import Diagnosis

_MARKS = {"ok": "[green]ok[/]", "absent": "[dim]-[/]", "warning": "[yellow]warn[/]", "problem": "[bold red]FAIL[/]"}


@click.command(cls=GroupedCommand)
@click.option(
    "--provider", default="cpu", show_default=True, help="The provider that must start: cpu, cuda[:i], trt ..."
)
@json_option
def doctor(provider: str, json_path: Path | None) -> None:
    """Check which runtimes start here, and what repairs the rest.

    Every provider of the installed ONNX Runtime runs a model of one node, in a process of its own; torch, TensorRT,
    their libraries and the optional packages are looked at. Exit code 6 if --provider does not start.
    """
    from rich.console import Console
    from rich.status import Status

    from graphprune.doctor.checks import examine
    from graphprune.doctor.system import ThisMachine

    with Status("looking", console=Console(stderr=True)) as status:
        diagnosis = examine(ThisMachine(), provider, lambda what: status.update(f"trying {what}"))
    if json_path is not None:
        write_json(json_path, diagnosis.to_json())
    if json_path is None or str(json_path) != "-":
        print_diagnosis(Console(highlight=False), diagnosis)
    if not diagnosis.starts:
        raise RuntimeMissing(f"no session starts on '{provider}' here", "the lines after 'next' repair it")


def print_diagnosis(console: Console, diagnosis: Diagnosis) -> None:
    """A row for each finding; what to do stands below it where something is wrong,
    and at the end for what is absent.
    """
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False, show_header=False)
    table.add_column("state", no_wrap=True)
    table.add_column("what", overflow="fold")
    table.add_column("detail", overflow="fold", ratio=1)
    for finding in diagnosis.findings:
        broken = finding.state in ("warning", "problem") and finding.fix
        detail = escape(finding.detail) + (f"\n[bold]next:[/] {escape(finding.fix)}" if broken else "")
        name = finding.name.removesuffix("ExecutionProvider")
        table.add_row(_MARKS[finding.state], escape(name), detail)
    console.print(table)
    absent = [finding for finding in diagnosis.findings if finding.state == "absent" and finding.fix]
    if absent:
        console.print("not here, and only needed for what they do:")
        for finding in absent:
            console.print(f"  {escape(finding.fix)}", soft_wrap=True)
