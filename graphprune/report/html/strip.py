"""The network before and after, side by side, as two stacks of rectangles that are joined where a part lives on.

Parts stand in execution order from top to bottom. The height of a rectangle is the part's share of the time (or of the
MACs), so the second stack is as much shorter as the network got faster;
its width grows with the square root of the channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from xml.etree import ElementTree

from graphprune.report.html.pictures import NetworkStrip, StripPart
from graphprune.report.html.told import Told, leading, told
from graphprune.report.svg import add, at
from graphprune.report.text import compact, shorten, without_common

_WIDTH, _TOP, _GAP = 376, 34, 2.0
_LEAST_HEIGHT = 3.0
_BEFORE, _AFTER, _WIDEST = 184.0, 322.0, 104.0  # middles of the stacks, widest rectangle
_LABEL_RIGHT, _LABEL_CELLS, _LABEL_HEIGHT = 116.0, 19, 11.0
_KIND = "part"
_STATES = {
    "removed": "removed",
    "cut": "thinner",
    "kept": "kept",
    "stays": "stays: no candidate",
}


def strip_svg(strip: NetworkStrip) -> str:
    """The picture as SVG text; a part leads to its layers, MACs and time, see :func:`strip_told`."""
    parts, weights = strip.parts, strip.weights()
    total = _total(strip)
    room = min(max(260.0, 44.0 * len(parts)), max(520.0, 11.0 * len(parts)))
    short = without_common([part.name for part in parts])
    heights = [tuple(_height(each, total, room) for each in pair) for pair in weights]
    ends = [_TOP + sum(h + _GAP for h in column if h) for column in zip(*heights, strict=True)]
    root = ElementTree.Element(
        "svg", {"viewBox": f"0 0 {_WIDTH} {max(ends) + 14:.0f}", "class": "strip", "role": "group"}
    )
    after = sum(after for _, after in weights)
    what = _measure(strip)
    add(root, "title", {}, f"the network before and after: {100 * after / total:.0f} % of the {what} left")
    for middle, name, share in ((_BEFORE, "before", 1.0), (_AFTER, "after", after / total)):
        add(root, "text", {**at(middle, 10, "column"), "text-anchor": "middle"}, name)
        add(root, "text", {**at(middle, 24, "dim"), "text-anchor": "middle"}, f"{100 * share:.0f} % of the {what}")
    widest = max((count for part in parts for count in _widths(part)), default=1.0) or 1.0
    bands = add(root, "g")  # below all parts
    y_before = y_after = float(_TOP)
    label_free = 0.0
    for number, (part, pair, text) in enumerate(zip(parts, heights, _texts(strip), strict=True)):
        group = leading(root, _KIND, number, f"part {part.state}", text)
        _draw(group, bands, part, (y_before, y_after), pair, widest)
        middle = y_before + pair[0] / 2
        if pair[0] >= 6 and middle - label_free >= _LABEL_HEIGHT:
            place = {**at(_LABEL_RIGHT, round(middle + 3.2, 1), "label"), "text-anchor": "end"}
            add(group, "text", place, shorten(short[part.name], _LABEL_CELLS))
            label_free = middle
        y_before += pair[0] + _GAP if pair[0] else 0
        y_after += pair[1] + _GAP if pair[1] else 0
    return ElementTree.tostring(root, encoding="unicode")


def strip_told(strip: NetworkStrip) -> list[Told]:
    """What the picture has to say of each part."""
    return told(_KIND, _texts(strip))


def _texts(strip: NetworkStrip) -> list[str]:
    total, what = _total(strip), _measure(strip)
    return [
        _describe(part, before / total, what) for part, (before, _) in zip(strip.parts, strip.weights(), strict=True)
    ]


def _total(strip: NetworkStrip) -> float:
    return sum(before for before, _ in strip.weights()) or 1.0


def _measure(strip: NetworkStrip) -> str:
    return "time" if strip.is_timed else "MACs"


def _height(weight: float, total: float, room: float) -> float:
    return round(max(_LEAST_HEIGHT, room * weight / total), 1) if weight > 0 else 0.0


def _widths(part: StripPart) -> tuple[float, float]:
    """Mean channels of the part's layers, before and after."""
    if not part.layers:
        return 0.0, 0.0
    return (
        sum(layer.before for layer in part.layers) / len(part.layers),
        sum(layer.after for layer in part.layers) / len(part.layers),
    )


def _draw(
    group: ElementTree.Element,
    bands: ElementTree.Element,
    part: StripPart,
    tops: tuple[float, float],
    heights: tuple[float, ...],
    widest: float,
) -> None:
    """Both rectangles, the band between them, the arc of a residual connection, and hatching for what went."""
    before, after = (max(3.0, _WIDEST * sqrt(width / widest)) for width in _widths(part))
    if part.state == "removed":
        after = 0.0
    (y0, y1), (h0, h1) = tops, heights
    left, right = _BEFORE + before / 2, _AFTER - max(after, 3.0) / 2
    middle = (left + right) / 2
    band = f"M{left:.1f},{y0:.1f}C{middle:.1f},{y0:.1f} {middle:.1f},{y1:.1f} {right:.1f},{y1:.1f}V{y1 + h1:.1f}"
    band += f"C{middle:.1f},{y1 + h1:.1f} {middle:.1f},{y0 + h0:.1f} {left:.1f},{y0 + h0:.1f}Z"
    if part.state != "removed":
        add(bands, "path", {"class": f"band {part.state}", "d": band})
    if part.is_residual:
        x = _BEFORE - before / 2 - 1
        reach = min(9.0, 3 + h0 / 2)
        arc = f"M{x:.1f},{y0:.1f}q{-reach:.1f},0 {-reach:.1f},{h0 / 2:.1f}t{reach:.1f},{h0 / 2:.1f}"
        add(group, "path", {"class": "arc", "d": arc})
    for x, y, width, height, style in _boxes(part, before, after, tops, heights):
        if width > 0 and height > 0:
            size = {"width": f"{width:.1f}", "height": f"{height:.1f}", "rx": f"{min(2.0, height / 2):.1f}"}
            add(group, "rect", {"x": f"{x:.1f}", "y": f"{y:.1f}", **size, "class": style})


def _boxes(
    part: StripPart, before: float, after: float, tops: tuple[float, float], heights: tuple[float, ...]
) -> Iterator[tuple[float, float, float, float, str]]:
    """Rectangles as x, y, width, height, class."""
    if part.state == "removed":
        yield _BEFORE - before / 2, tops[0], before, heights[0], "gone"
        return
    if part.state == "cut" and after < before:
        yield _BEFORE - before / 2, tops[0], before, heights[0], "gone"
    inner = min(before, after)
    yield _BEFORE - inner / 2, tops[0], inner, heights[0], "there"
    yield _AFTER - after / 2, tops[1], after, heights[1], "there"


def _describe(part: StripPart, share: float, what: str) -> str:
    lines = [f"{part.name} ({_STATES[part.state]})"]
    lines += [f"{layer.name}: {_change(layer.before, layer.after)} channels" for layer in part.layers]
    lines.append(f"MACs: {compact(part.macs_before)} to {compact(part.macs_after)}")
    if what == "time":
        own_ms, left_ms = part.ms_before or 0.0, part.ms_after or 0.0
        lines.append(f"by itself: {own_ms:.3f} ms to {left_ms:.3f} ms, {100 * share:.1f} % of all parts")
    if part.reason:
        lines.append(part.reason)
    return "\n".join(lines)


def _change(before: int, after: int) -> str:
    return f"{before:,}" if before == after else f"{before:,} to {after:,}"
