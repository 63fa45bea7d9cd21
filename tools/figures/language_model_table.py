"""The rows of ``language_models.py`` as Markdown: perplexities by share, how ours compares, and each row's facts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from language_model_ours import SPECS, TRAINED
from language_model_texts import DOCS, TEST

Row = dict[str, Any]

GOALS = {0.20: 40.0, 0.25: 45.0, 0.30: 54.0}
"""Perplexity on WikiText-2 that ours should not exceed, by share of the parameters that is gone."""
MARGIN = 0.8
"""Of the best rival's: what ours should not exceed."""


def markdown(rows: Sequence[Row]) -> str:
    """Three tables; shares are of all parameters, processor seconds and peak of deciding and refitting."""
    parts = (_perplexities(rows), _compared(rows), _facts(rows))
    return "\n".join("\n".join(part) + "\n" for part in parts if part)


def _perplexities(rows: Sequence[Row]) -> list[str]:
    """A line for each method, a column for each share: on WikiText-2 and, behind a comma, on the docs."""
    shares = sorted({row["share"] for row in rows if row["share"]})
    found = [_line(["method", *map(_percent, shares)]), _rule(1 + len(shares))]
    for method in dict.fromkeys(row["method"] for row in rows if row["share"]):
        own = {row["share"]: row for row in rows if row["method"] == method}
        found.append(_line([_named(method), *(_pair(own.get(share)) for share in shares)]))
    return found


def _compared(rows: Sequence[Row]) -> list[str]:
    """The best of ours beside the best rival, share by share."""
    found = [
        _line(["gone", "best of ours", "best rival", "ours / rival", "a fifth under", "goal", "reached"]),
        _rule(7),
    ]
    for share in sorted({row["share"] for row in rows if row["share"]}):
        done = [row for row in rows if row["share"] == share and "perplexity" in row]
        ours = _best(row for row in done if row["method"] in SPECS)
        rival = _best(row for row in done if row["method"] not in (*SPECS, *TRAINED))
        if ours is None or rival is None:
            continue
        own, theirs, goal = _on(ours, TEST), _on(rival, TEST), GOALS.get(share)
        found.append(
            _line(
                [
                    _percent(share),
                    f"{_named(ours['method'])} {own:.2f}",
                    f"{rival['method']} {theirs:.2f}",
                    f"{own / theirs:.2f}",
                    _yes(own <= MARGIN * theirs),
                    f"{goal:g}" if goal else "",
                    _yes(own <= goal) if goal else "",
                ]
            )
        )
    return found if len(found) > 2 else []


def _facts(rows: Sequence[Row]) -> list[str]:
    """A line for each row; ``gap`` is how much more of the dense perplexity the docs cost than WikiText-2."""
    dense = next((row for row in rows if row["method"] == "dense" and "perplexity" in row), None)
    if dense is None:
        return []
    heads = ["method", "asked", "parameters left", "WikiText-2", "x dense", "docs", "x dense", "gap"]
    heads += ["processor s", "peak MiB", "refit", "proved"]
    found = [_line(heads), _rule(len(heads))]
    for row in sorted(rows, key=lambda row: row["share"]):
        name, asked = _named(row["method"]), _percent(row["share"]) if row["share"] else ""
        if "perplexity" not in row:
            found.append(_line([name, asked, row["unfinished"], *[""] * 9]))
            continue
        on = {text: (_on(row, text), _on(row, text) / _on(dense, text)) for text in (TEST, DOCS)}
        left = row["parameters"] / dense["parameters"]
        found.append(
            _line(
                [
                    name,
                    asked,
                    f"{row['parameters']:,}" + (f" ({_percent(left, 1)})" if asked else ""),
                    *(f"{figure:.2f}" for text in (TEST, DOCS) for figure in on[text]),
                    f"{on[DOCS][1] / on[TEST][1]:.2f}",
                    *(f"{row[key]:,.0f}" if key in row else "" for key in ("processor_seconds", "peak_mib")),
                    row.get("repair", ""),
                    _yes(row["proved"]) if "proved" in row else "",
                ]
            )
        )
    return found


def _best(rows: Iterator[Row]) -> Row | None:
    return min(rows, key=lambda row: _on(row, TEST), default=None)


def _on(row: Row, text: str) -> float:
    value: float = row["perplexity"][text]
    return value


def _pair(row: Row | None) -> str:
    if row is None:
        return ""
    return f"{_on(row, TEST):.1f}, {_on(row, DOCS):.1f}" if "perplexity" in row else row["unfinished"]


def _named(method: str) -> str:
    return f"`{method}`" if method in SPECS else method


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "no"


def _percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f} %"


def _rule(columns: int) -> str:
    return "|---" * columns + "|"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
