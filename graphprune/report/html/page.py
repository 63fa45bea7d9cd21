"""The page: sections for what there is to show, pictures put in, texts escaped, the whole result embedded as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import graphprune
from graphprune.base import extras
from graphprune.base.graded import by_gravity
from graphprune.repair.outcome import RepairReport
from graphprune.report import budget, quantised
from graphprune.report.html import charts
from graphprune.report.html.frontier import frontier_of
from graphprune.report.html.generation import generation_rows, text_rows
from graphprune.report.html.headline import figures
from graphprune.report.html.heatmap import floor_of, heatmap_svg, heatmap_told
from graphprune.report.html.importance import MOST_GROUPS, block_bars, blocks_told, group_multiples, is_logarithmic
from graphprune.report.html.pictures import ReportData, Similarity
from graphprune.report.html.strip import strip_svg, strip_told
from graphprune.report.html.style import STYLE
from graphprune.report.html.trajectory import score_title, trajectory_of
from graphprune.report.result import Result
from graphprune.report.text import compact

_JSON_LIMIT_BYTES = 240_000
_FOLDED_ROWS = 30
_GRADES = {"alarm": "Alarm", "caution": "Caution", "fact": "Note"}
_STATES = {"removed": "removed", "cut": "thinner", "kept": "kept", "stays": "cannot go"}


def render(result: Result, pictures: ReportData) -> str:
    """One HTML file that needs nothing from anywhere; readable without scripts, which it has none of.

    Raises
    ------
    RuntimeMissing
        Jinja2 or Matplotlib is not installed.
    """
    jinja2 = extras.jinja2()
    text, left_out = embedded(result)
    drawn = {name: jinja2.utils.markupsafe.Markup(svg) for name, svg in _drawings(result, pictures).items()}
    multiples = group_multiples(result.plan.decisions)
    page: str = template("page.html.j2").render(
        title=Path(result.source).name,
        version=graphprune.__version__,
        style=jinja2.utils.markupsafe.Markup(STYLE),
        result=result,
        pictures=pictures,
        figures=figures(result),
        notes=by_gravity(result.notes),
        grades=_GRADES,
        drawn=drawn,
        told={
            "strip": strip_told(pictures.strip),
            "blocks": blocks_told(result.plan.decisions),
            "heat": heatmap_told(pictures.similarity),
        },
        rows_of_groups={row.name: place for place, row in enumerate(pictures.groups)},
        multiples=[(each, jinja2.utils.markupsafe.Markup(each.svg)) for each in multiples],
        units_cut=len(result.plan.units),
        most_groups=MOST_GROUPS,
        similarity_floor=floor_of(pictures.similarity),
        alike=_alike(pictures.similarity),
        largest_score=max((abs(row.score) for row in pictures.blocks if row.score is not None), default=0.0) or 1.0,
        repairs=_repairs(result.repair),
        recovery=result.recovery,
        generation=generation_rows(result.generation),
        texts=text_rows(result.evaluation, result.unrepaired, result.recovery),
        budget=list(budget.sentences(result)),
        tried=budget.rows(result.plan.budget, result) if result.plan.budget else [],
        int8=quantised.rows(result) if result.quantised else [],
        int8_sentence=quantised.sentence(result.quantised) if result.quantised else "",
        limits=[decision.limit for decision in result.plan.decisions if decision.limit],
        folded_rows=_FOLDED_ROWS,
        states=_STATES,
        is_logarithmic=is_logarithmic(result.plan.decisions),
        is_scored=any(row.score is not None for row in pictures.blocks),
        score_title=score_title(result.plan.decisions),
        specs=list(dict.fromkeys(decision.spec for decision in result.plan.decisions)),
        json=jinja2.utils.markupsafe.Markup(text),
        left_out=left_out,
    )
    return page


def template(name: str) -> Any:
    """A template of this folder, whose texts are escaped.

    Raises
    ------
    RuntimeMissing
        Jinja2 is not installed.
    """
    jinja2 = extras.jinja2()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"compact": compact, "commas": lambda number: f"{number:,}", "breaking": _breaking}
    return environment.get_template(name)


def _breaking(name: str) -> Any:
    """A name that may go on in another line after a dot or a stroke."""
    escaped = extras.jinja2().utils.markupsafe.escape(name)
    return type(escaped)(re.sub(r"(?<=[./])(?=.)", "<wbr>", escaped))


def _drawings(result: Result, pictures: ReportData) -> dict[str, str]:
    """Every picture, empty where there is nothing to draw."""
    trajectory, frontier = trajectory_of(result), frontier_of(result.plan)
    times = result.measurement.comparison if result.measurement is not None else None
    return {
        "strip": strip_svg(pictures.strip),
        "blocks": block_bars(result.plan.decisions),
        "heat": heatmap_svg(pictures.similarity) if pictures.similarity.values else "",
        "trajectory": charts.trajectory_svg(trajectory) if trajectory else "",
        "frontier": charts.frontier_svg(frontier) if frontier else "",
        "latency": charts.latency_svg(times) if times is not None and times.histogram else "",
        "training": charts.training_svg(result.training) if result.training else "",
    }


def embedded(result: Result) -> tuple[str, str]:
    """The result as JSON that no name in it can break out of,
    and what had to be left out of it to keep the file small.
    """
    content, left_out = result.to_dict(), ""
    if len(json.dumps(content)) > _JSON_LIMIT_BYTES:
        left_out = "the scores of single units"
        for decision in content["plan"]["decisions"]:
            decision["units"] = [units | {"scores": []} for units in decision["units"]]
            decision["blocks"] = [block | {"scores": []} for block in decision["blocks"]]
    return script_json(content), left_out


def script_json(content: dict[str, Any]) -> str:
    """JSON that nothing in it can break out of a script element of."""
    text = json.dumps(content, separators=(",", ":"))  # in ASCII, so that no line separator is left
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _repairs(report: RepairReport | None) -> list[dict[str, Any]]:
    """Per method: layers, layers that kept their new weights, median held-out error before and after."""
    if report is None:
        return []
    rows = []
    for method in report.methods:
        layers = [layer for layer in report.layers if layer.method == method]
        if layers:
            rows.append(
                {
                    "method": method,
                    "layers": len(layers),
                    "kept": sum(layer.is_kept for layer in layers),
                    "before": median(layer.before for layer in layers),
                    "after": median(layer.after for layer in layers),
                }
            )
    return rows


def _alike(similarity: Similarity) -> str:
    """The two neighbours that are most alike, in a sentence."""
    pairs: Sequence[tuple[float, int]] = [
        (similarity.values[row][row + 1], row) for row in range(len(similarity.values) - 1)
    ]
    if not pairs:
        return ""
    value, row = max(pairs)
    return f"The neighbours most alike are {similarity.names[row]} and {similarity.names[row + 1]} ({value:.3f})."
