"""Charts by Matplotlib as SVG that follows the page: its fonts, and its colours in light and dark."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log10
from typing import Any
from xml.etree import ElementTree

from graphprune.base import extras
from graphprune.measure.timing import Comparison
from graphprune.report.html.frontier import Frontier
from graphprune.training.report import TrainingReport

_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"

INK, MUTED, LINE, ACCENT, GONE, CARD = "#010203", "#010204", "#010205", "#010206", "#010207", "#010208"
"""Stand-ins: Matplotlib draws with them, and the page's variables take their place."""

_VARIABLES = {INK: "ink", MUTED: "muted", LINE: "line", ACCENT: "accent", GONE: "gone", CARD: "card"}
_SIZE_INCHES = (5.0, 3.0)  # at 72 points to the inch, and so to the pixel
_RC = {
    "svg.fonttype": "none",
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "text.color": INK,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.8,
}


_TICKS = ((1.2, (1, 1.5, 2, 3, 5, 7)), (2.0, (1, 2, 5)), (3.2, (1, 3)))
"""How many decades an axis spans at most, and the ticks within each of them."""


@dataclass(frozen=True)
class Point:
    """A state of the network on its way: share of the MACs, or of the time, left, the figure it is judged by,
    and what led there.
    """

    left: float
    figure: float
    label: str = ""


@dataclass(frozen=True)
class Trajectory:
    """How the network came to be what it is: ``points`` in order, and ``rivals`` that were not taken."""

    points: tuple[Point, ...]
    rivals: tuple[Point, ...]
    figure_name: str
    left_name: str


def trajectory_svg(trajectory: Trajectory) -> str:
    """What each step cost against what it saved; the last point is the one chosen."""

    def draw(ax: Any) -> None:
        rivals, points = trajectory.rivals, trajectory.points
        if rivals:
            ax.plot(*_xy(rivals), "o", color=MUTED, alpha=0.35, markersize=4, markeredgewidth=0, label="not taken")
        ax.plot(*_xy(points), "-o", color=ACCENT, markersize=5, label="taken")
        last = points[-1]
        ax.plot(
            [100 * last.left],
            [last.figure],
            "o",
            color=GONE,
            markersize=11,
            fillstyle="none",
            markeredgewidth=2,
            label="chosen",
        )
        ax.set_xlabel(trajectory.left_name)
        ax.set_ylabel(trajectory.figure_name)
        ax.invert_xaxis()
        figures = [point.figure for point in (*points, *rivals)]
        if min(figures) > 0 and max(figures) > 20 * min(figures):
            ax.set_yscale("log")
            ax.yaxis.set_major_formatter(extras.matplotlib().ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, fontsize=9, borderaxespad=0.2)

    return drawn(draw, "what each step cost against what it saved")


def frontier_svg(frontier: Frontier) -> str:
    """The chosen units against the least important ones."""

    def draw(ax: Any) -> None:
        x, y = ([100 * share for share in shares] for shares in (frontier.units, frontier.least))
        ax.fill_between(x, y, color=ACCENT, alpha=0.10, linewidth=0)
        ax.plot(x, y, color=ACCENT, label="least important first, wherever they are")
        ax.plot(
            [100 * frontier.chosen[0]],
            [100 * frontier.chosen[1]],
            "o",
            color=GONE,
            markersize=11,
            fillstyle="none",
            markeredgewidth=2,
            label="chosen",
        )
        ax.set_xlim(0, 100)
        ax.set_ylim(0, 100)
        ax.set_xlabel("units removed, % of the groups that were cut")
        ax.set_ylabel("importance lost, %")
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=9, borderaxespad=0.2)

    return drawn(draw, "importance lost for the number of units removed")


def latency_svg(comparison: Comparison) -> str:
    """How often each network took how long, on a log scale."""
    histogram = comparison.histogram
    assert histogram is not None  # the caller looks

    def draw(ax: Any) -> None:
        runs = (
            (histogram.first, MUTED, "original", comparison.first),
            (histogram.second, ACCENT, "pruned", comparison.second),
        )
        for counts, colour, name, latency in runs:
            ax.stairs(counts, histogram.edges_ms, fill=True, color=colour, alpha=0.28)
            ax.stairs(counts, histogram.edges_ms, color=colour, label=f"{name}: {latency.median_ms:.3g} ms")
            ax.axvline(latency.median_ms, color=colour, linewidth=1.2, linestyle=(0, (4, 3)))
        ax.set_xscale("log")
        ax.set_xlim(histogram.edges_ms[0], histogram.edges_ms[-1])
        ax.set_ylim(bottom=0)
        ticker = extras.matplotlib().ticker
        span = log10(histogram.edges_ms[-1] / histogram.edges_ms[0])
        subs = next((subs for most, subs in _TICKS if span < most), (1,))
        ax.xaxis.set_major_locator(ticker.LogLocator(subs=subs))
        ax.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        ax.xaxis.set_minor_locator(ticker.NullLocator())
        if len([t for t in ax.get_xticks() if histogram.edges_ms[0] <= t <= histogram.edges_ms[-1]]) < 3:
            ax.set_xscale("linear")
            ax.xaxis.set_major_locator(ticker.MaxNLocator(6))
        ax.set_xlabel("ms per run")
        ax.set_ylabel("runs")
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=9, borderaxespad=0.2)

    return drawn(draw, "distribution of the run times of both networks")


def training_svg(reports: Sequence[TrainingReport]) -> str:
    """The held-out figure after every epoch, round by round."""

    def draw(ax: Any) -> None:
        with_scores = all(epoch.score is not None for report in reports for epoch in report.epochs)
        start = 0
        for number, report in enumerate(reports):
            values = [100 * (epoch.score or 0.0) if with_scores else epoch.held_out_loss for epoch in report.epochs]
            at = [start + epoch.epoch for epoch in report.epochs]
            ax.plot(at, values, "-o", color=ACCENT, markersize=3.5)
            ax.plot(
                [start + report.after.epoch],
                [values[report.kept]],
                "o",
                color=GONE,
                markersize=9,
                fillstyle="none",
                markeredgewidth=2,
                label="kept" if number == 0 else None,
            )
            start = at[-1]
        ax.xaxis.set_major_locator(extras.matplotlib().ticker.MaxNLocator(6, integer=True))
        ax.set_xlabel("epoch")
        ax.set_ylabel(
            f"held-out {'top-1' if reports[0].kind == 'top1' else 'agreement'}, %" if with_scores else "held-out loss"
        )
        ax.legend(loc="best", fontsize=9)

    return drawn(draw, "held-out figures of the training")


def pareto_svg(left: Sequence[Point], front: Sequence[Point], what: str, lost: str) -> str:
    """What each candidate loses against what it leaves, ``what`` in words; those that no other beats are joined."""

    def draw(ax: Any) -> None:
        if left:
            ax.plot(*_xy(left), "o", color=MUTED, markersize=6, label="beaten by another")
        ax.plot(*_xy(sorted(front, key=lambda point: point.left)), "-o", color=ACCENT, markersize=6, label="the front")
        for point in (*left, *front):
            ax.annotate(point.label, (100 * point.left, point.figure), xytext=(4, 5), textcoords="offset points")
        ax.margins(0.1)
        ax.set_xlabel(what)
        ax.set_ylabel(lost)
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=9, borderaxespad=0.2)

    return drawn(draw, f"{lost} against {what}")


def _xy(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [100 * point.left for point in points], [point.figure for point in points]


def drawn(draw: Callable[[Any], None], title: str) -> str:
    """A figure as SVG without ids that nothing refers to, metadata, or anything that differs from run to run."""
    matplotlib = extras.matplotlib()
    with matplotlib.rc_context(_RC | {"svg.hashsalt": title}):  # ids that no other chart has
        figure = matplotlib.figure.Figure(_SIZE_INCHES, dpi=72, layout="constrained")
        draw(figure.add_subplot())
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    root = ElementTree.fromstring(out.getvalue().partition("<svg")[1] + out.getvalue().partition("<svg")[2])
    return _inlined(root, title)


def _inlined(root: ElementTree.Element, title: str) -> str:
    for child in list(root):
        if child.tag == f"{_SVG}metadata":
            root.remove(child)
    used = set(re.findall(r"#([\w-]+)", ElementTree.tostring(root, encoding="unicode")))
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        if _HREF in element.attrib:
            element.attrib["href"] = element.attrib.pop(_HREF)
        if element.get("id") not in used:
            element.attrib.pop("id", None)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.attrib |= {"class": "chart", "role": "img"}
    heading = ElementTree.Element("title")
    heading.text = title
    root.insert(0, heading)
    text = ElementTree.tostring(root, encoding="unicode")
    for stand_in, name in _VARIABLES.items():
        text = text.replace(stand_in, f"var(--{name})")
    return re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
