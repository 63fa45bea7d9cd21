"""The page of a growth: headline, pictures, every network on the way, and the whole document embedded as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import graphprune
from graphprune.base import extras
from graphprune.report.growth import GrownNetwork, Growth
from graphprune.report.html.growth_charts import Station, importance_svg, score_svg, stations
from graphprune.report.html.headline import Figure
from graphprune.report.html.page import script_json, template
from graphprune.report.html.style import STYLE
from graphprune.report.text import compact


def growth_page(found: Growth, command: str) -> str:
    """One HTML file that needs nothing from anywhere; ``command`` is what was typed, empty from Python.

    Raises
    ------
    RuntimeMissing
        Jinja2 or Matplotlib is not installed.
    """
    markup = extras.jinja2().utils.markupsafe.Markup
    way = stations(found)
    last = found.steps[-1].network if found.steps else found.first
    page: str = template("growth.html.j2").render(
        title=Path(found.source).name,
        version=graphprune.__version__,
        style=markup(STYLE),
        found=found,
        figures=_figures(found.first, last),
        stations=[(each, _marked(each)) for each in way],
        deepest=max(max(each.network.depths) for each in way),
        scores=markup(score_svg(way)),
        importances=markup(importance_svg(way)),
        command=command,
        json=markup(script_json(json.loads(found.to_json()))),
    )
    return page


def _figures(first: GrownNetwork, last: GrownNetwork) -> list[Figure]:
    pairs = [("blocks", str(sum(first.depths)), str(sum(last.depths)))]
    pairs += [
        ("MACs", compact(first.macs), compact(last.macs)),
        ("parameters", compact(first.params), compact(last.params)),
    ]
    figures = [Figure(name, after, (f"{before} before",)) for name, before, after in pairs]
    if first.score is not None and last.score is not None:
        change = 100 * (last.score - first.score)
        details = (f"{100 * first.score:.2f} % before", f"{change:+.2f} points")
        figures.append(Figure("held out", f"{100 * last.score:.2f} %", details, "good" if change > 0 else ""))
    return figures


def _marked(station: Station) -> list[tuple[int, float | None, float | None, bool]]:
    """Of every stage: its blocks, mean VIP, standard error, and whether it kept what was added."""
    network = station.network
    count = len(network.depths)
    values, errors = network.importance or (None,) * count, network.standard_errors or (None,) * count
    return [
        (depth, value, error, stage in station.grown)
        for stage, (depth, value, error) in enumerate(zip(network.depths, values, errors, strict=True))
    ]
