"""A result in a line, as the terminal's tables, and for a notebook."""

from __future__ import annotations

import io
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from graphprune.report.bench_table import verdict
from graphprune.report.text import change

if TYPE_CHECKING:
    from graphprune.report.result import Result

_COLUMNS = 80


def line(result: Result) -> str:
    """Name, what went, and the measured ratio."""
    name = Path(str(result.output or result.source)).name
    return f"Result({name}: {', '.join(_facts(result))})"


def table(result: Result) -> str:
    """What the command prints, at 80 columns, as plain text."""
    from rich.console import Console

    from graphprune.report.terminal import print_result

    text = io.StringIO()
    print_result(Console(file=text, width=_COLUMNS, highlight=False, color_system=None), result)
    return text.getvalue()


def html(result: Result) -> str:
    """The headline figures over what the command prints; without scripts, colours of the page it stands in."""
    name = escape(Path(str(result.output or result.source)).name)
    return (
        f'<div style="max-width:52em"><p><strong>{name}</strong>: {escape(", ".join(_facts(result)))}</p>'
        f'<details><summary>everything</summary><pre style="line-height:1.25">{escape(table(result))}</pre></details>'
        "</div>"
    )


def _facts(result: Result) -> list[str]:
    facts = [f"MACs {change(result.before.macs, result.after.macs)}"]
    facts.append(f"parameters {change(result.before.params, result.after.params)}")
    if result.measurement is not None:
        facts.append(verdict(result.measurement.comparison))
    if result.evaluation is not None:
        facts.append(_quality(result))
    if result.validation is not None:
        facts.append("proved")
    return facts


def _quality(result: Result) -> str:
    found = result.evaluation
    assert found is not None  # whoever asks has looked
    if found.kind == "top1":
        return f"top-1 {100 * found.before:.2f} % -> {100 * found.after:.2f} %"
    if found.kind == "agreement":
        return f"agreement {100 * found.after:.2f} %"
    name = {"error": "relative error", "metric": found.metric}.get(found.kind, found.kind)
    return f"{name} {found.before:.4g} -> {found.after:.4g}"
