"""The two pictures of a growth: what depth bought, and how the importance of the stages moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graphprune.base import extras
from graphprune.report.growth import GrownNetwork, Growth
from graphprune.report.html.charts import ACCENT, GONE, INK, MUTED, drawn

_COLOURS = (ACCENT, GONE, INK, MUTED)
_MARKERS = "osD^v"


@dataclass(frozen=True)
class Station:
    """A network on the way; ``is_kept``: it was grown from, or is the last."""

    name: str
    network: GrownNetwork
    is_kept: bool
    grown: tuple[int, ...] = ()


def stations(found: Growth) -> list[Station]:
    """The networks in the order in which they were made; one that was tried and grown as it is comes once."""
    way = [Station("first", found.first, is_kept=True)]
    for number, step in enumerate(found.steps, 1):
        if step.tried.depths == step.network.depths:
            way.append(Station(f"{number} grown", step.network, is_kept=True, grown=step.grown))
            continue
        way.append(Station(f"{number} tried", step.tried, is_kept=False))
        if step.grown:
            way.append(Station(f"{number} grown", step.network, is_kept=True, grown=step.grown))
    return way


def score_svg(way: Sequence[Station]) -> str:
    """Held-out accuracy against MACs; empty where fewer than two networks were trained."""
    kept, tried = (
        [
            (each.network.macs / 1e6, 100 * each.network.score)
            for each in way
            if each.network.score is not None and each.is_kept is is_kept
        ]
        for is_kept in (True, False)
    )
    if len(kept) + len(tried) < 2:
        return ""

    def draw(ax: Any) -> None:
        if tried:
            ax.plot(*zip(*tried, strict=True), "o", color=MUTED, alpha=0.6, markersize=5, label="tried, not kept")
        ax.plot(*zip(*kept, strict=True), "-o", color=ACCENT, markersize=5, label="kept")
        ax.plot(
            *[[value] for value in kept[-1]],
            "o",
            color=GONE,
            markersize=11,
            fillstyle="none",
            markeredgewidth=2,
            label="written",
        )
        ax.set_xlabel("MACs, millions")
        ax.set_ylabel("held-out samples right, %")
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, fontsize=9, borderaxespad=0.2)

    return drawn(draw, "what the added blocks bought")


def importance_svg(way: Sequence[Station]) -> str:
    """Mean VIP of every stage in the networks as they came; hollow: tried. Empty as :func:`score_svg`."""
    told = [each for each in way if each.network.importance is not None]
    if len(told) < 2:
        return ""

    def draw(ax: Any) -> None:
        at = range(len(told))
        for stage in range(len(told[0].network.depths)):
            colour, marker = _COLOURS[stage % len(_COLOURS)], _MARKERS[stage % len(_MARKERS)]
            values = [(each.network.importance or ())[stage] for each in told]
            errors = [(each.network.standard_errors or (0.0,) * (stage + 1))[stage] for each in told]
            ax.errorbar(at, values, errors, color=colour, linewidth=1.4, elinewidth=1, label=f"stage {stage}")
            for place, (each, value) in enumerate(zip(told, values, strict=True)):
                style = {} if each.is_kept else {"fillstyle": "none"}
                ax.plot([place], [value], marker, color=colour, markersize=6, **style)
        ax.xaxis.set_major_locator(extras.matplotlib().ticker.FixedLocator(list(at)))
        ax.set_xticklabels([each.name for each in told], rotation=30 if len(told) > 4 else 0)
        ax.set_ylabel("mean VIP of the last join")
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, fontsize=9, borderaxespad=0.2)

    return drawn(draw, "importance of the stages")
