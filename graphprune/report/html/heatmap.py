"""The similarity of every two blocks as a map of squares."""

from __future__ import annotations

from collections import defaultdict
from xml.etree import ElementTree

from graphprune.report.html.pictures import Similarity
from graphprune.report.html.told import Told, leading, told
from graphprune.report.svg import add, at
from graphprune.report.text import shorten, without_common

_KIND = "alike"
LEVELS = 16
"""Shades; the style sheet has a class ``q0`` to ``q15`` for each."""

_SIDE, _LEFT, _TOP = 290.0, 90.0, 4.0
_NAMED_PITCH, _WIDEST_PITCH = 7.0, 40.0


def floor_of(similarity: Similarity) -> float:
    """The value of the lightest shade: the least similarity, rounded down to a tenth."""
    least = min((value for row in similarity.values for value in row), default=0.0)
    return min(0.9, int(10 * least) / 10)


def heatmap_svg(similarity: Similarity) -> str:
    """Squares of one shade are one path; each row has a title with its nearest relative."""
    count, low = len(similarity.names), floor_of(similarity)
    extent = min(_SIDE, _WIDEST_PITCH * count)
    pitch = extent / count
    width = _LEFT + _SIDE + 2
    root = ElementTree.Element(
        "svg", {"viewBox": f"0 0 {width:g} {_TOP + extent + 40:g}", "class": "heat", "role": "group"}
    )
    add(root, "title", {}, f"similarity of the outputs of {count} blocks")
    shades: dict[int, list[str]] = defaultdict(list)
    gap = 0.6 if pitch > 6 else 0.0
    side = pitch - gap
    for row, values in enumerate(similarity.values):
        for column, value in enumerate(values):
            shade = max(0, min(LEVELS - 1, int((value - low) / (1 - low) * LEVELS)))
            x, y = _LEFT + column * pitch, _TOP + row * pitch
            shades[shade].append(f"M{x:.1f},{y:.1f}h{side:.1f}v{side:.1f}h{-side:.1f}z")
    for shade, squares in sorted(shades.items()):
        add(root, "path", {"class": f"q{shade}", "d": "".join(squares)})
    step = max(1, round(_NAMED_PITCH / pitch))
    short = without_common(similarity.names)
    for row, name in enumerate(similarity.names):
        group = leading(root, _KIND, row, "cell", _describe(similarity, row))
        add(
            group,
            "rect",
            {
                "x": "0",
                "y": f"{_TOP + row * pitch:.1f}",
                "width": f"{width:g}",
                "height": f"{pitch:.1f}",
                "class": "hit",
            },
        )
        if row % step == 0:
            style = "label removed" if name in similarity.removed else "label"
            place = {**at(_LEFT - 6, round(_TOP + (row + 0.5) * pitch + 3, 1), style), "text-anchor": "end"}
            add(group, "text", place, shorten(short[name], 14))
    _legend(root, low, _TOP + extent + 12)
    return ElementTree.tostring(root, encoding="unicode")


def heatmap_told(similarity: Similarity) -> list[Told]:
    """What the map has to say of each block."""
    return told(_KIND, [_describe(similarity, row) for row in range(len(similarity.names))])


def _legend(root: ElementTree.Element, low: float, y: float) -> None:
    width = _SIDE / 2
    for shade in range(LEVELS):
        place = {"x": f"{_LEFT + shade * width / LEVELS:.1f}", "y": f"{y:g}"}
        add(root, "rect", {**place, "width": f"{width / LEVELS:.1f}", "height": "8", "class": f"q{shade}"})
    add(root, "text", at(_LEFT, y + 20, "dim"), f"{low:.1f}")
    add(root, "text", {**at(_LEFT + width, y + 20, "dim"), "text-anchor": "end"}, "1.0")
    add(root, "text", at(_LEFT + width + 10, y + 8, "dim"), "CKA")


def _describe(similarity: Similarity, row: int) -> str:
    values, names = similarity.values[row], similarity.names
    lines = [f"{names[row]}{' (removed)' if names[row] in similarity.removed else ''}"]
    if row:
        lines.append(f"to the block before, {names[row - 1]}: {values[row - 1]:.3f}")
    if row + 1 < len(names):
        lines.append(f"to the block after, {names[row + 1]}: {values[row + 1]:.3f}")
    return "\n".join(lines)
