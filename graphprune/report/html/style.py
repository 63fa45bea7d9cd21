"""The style sheet of the report: one set of variables for light and dark, and the page built on them."""

from __future__ import annotations

from pathlib import Path

from graphprune.report.html.heatmap import LEVELS

_LIGHT_STOPS = ("#eef2f8", "#bcd3f2", "#5f93df", "#2559b8", "#0c2a66")
_DARK_STOPS = ("#1b222c", "#1f3f73", "#3d78d0", "#93bdf7", "#eaf2ff")


def _shade(stops: tuple[str, ...], share: float) -> str:
    """A colour between the stops, ``share`` in [0, 1]."""
    place = share * (len(stops) - 1)
    index = min(int(place), len(stops) - 2)
    low, high = (tuple(int(stop[i : i + 2], 16) for i in (1, 3, 5)) for stop in stops[index : index + 2])
    mixed = (round(a + (place - index) * (b - a)) for a, b in zip(low, high, strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def _shades(stops: tuple[str, ...]) -> str:
    return "".join(f".q{level}{{fill:{_shade(stops, level / (LEVELS - 1))}}}" for level in range(LEVELS))


_DARK_SHADES = f"@media screen and (prefers-color-scheme:dark){{{_shades(_DARK_STOPS)}}}"
STYLE = f"{Path(__file__).with_name('page.css').read_text(encoding='utf-8')}{_shades(_LIGHT_STOPS)}{_DARK_SHADES}"
