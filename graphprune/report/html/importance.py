"""How much each unit matters, as small bars: what was removed against what was kept, one picture per group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, log1p
from statistics import median
from xml.etree import ElementTree

import numpy as np

from graphprune.plan.plan import Decision, RemovedUnits
from graphprune.report.svg import add, at
from graphprune.report.text import shorten, without_common

MOST_GROUPS = 48
_MOST_BARS = 64
_WIDTH, _HEIGHT, _BASE = 128.0, 44.0, 42.0
_LABEL_ROOM = 62.0
_STEEP = 12.0


@dataclass(frozen=True)
class Multiple:
    """One small picture and what is written below it."""

    name: str
    caption: str
    svg: str


def group_multiples(decisions: Sequence[Decision]) -> list[Multiple]:
    """One per group that lost units, those that lost the most MACs first where there are too many to show."""
    units = [units for decision in decisions for units in decision.units if units.scores]
    if len(units) > MOST_GROUPS:
        largest = sorted(units, key=lambda each: each.macs, reverse=True)[:MOST_GROUPS]
        units = [each for each in units if each in largest]
    return [_multiple(each) for each in units]


def _multiple(units: RemovedUnits) -> Multiple:
    """Units by ascending importance; with many of them a bar stands for several and for what most of them became."""
    scores = np.nan_to_num(np.array(units.scores))
    gone = np.zeros(len(scores), dtype=bool)
    gone[[index for index in units.removed if index < len(scores)]] = True
    order = np.argsort(scores, kind="stable")
    chunks = np.array_split(order, min(_MOST_BARS, len(order)))
    heights = _visible([float(scores[chunk].mean()) for chunk in chunks])
    removed = [bool(gone[chunk].mean() >= 0.5) for chunk in chunks]
    kept = units.size - len(units.removed)
    root = ElementTree.Element("svg", {"viewBox": f"0 0 {_WIDTH:g} {_HEIGHT:g}", "class": "multiple", "role": "img"})
    add(root, "title", {}, f"{units.group}: {len(units.removed):,} of {units.size:,} {units.kind} removed")
    _bars(root, heights, removed, _WIDTH, _BASE - 2, _BASE)
    add(root, "path", {"class": "axis", "d": f"M0,{_BASE}H{_WIDTH:g}"})
    return Multiple(units.group, f"{units.size:,} to {kept:,}", ElementTree.tostring(root, encoding="unicode"))


def _visible(heights: Sequence[float]) -> list[float]:
    """Heights as they are, or as ``log(1 + height / median)`` where one bar would leave the others flat."""
    sizes = [abs(height) for height in heights]
    middle = median(sizes)
    if not 0 < _STEEP * middle < max(sizes):
        return list(heights)
    return [log1p(size / middle) for size in sizes]


def _bars(
    root: ElementTree.Element, heights: Sequence[float], removed: Sequence[bool], width: float, room: float, base: float
) -> None:
    """All bars as two paths, what was removed and what was kept; the smallest still shows."""
    most = max((abs(height) for height in heights), default=0.0) or 1.0
    pitch = width / max(1, len(heights))
    thickness = max(0.8, 0.78 * pitch)
    for style, wanted in (("kept", False), ("gone", True)):
        lines = []
        for index, (height, is_gone) in enumerate(zip(heights, removed, strict=True)):
            if is_gone == wanted:
                up = max(1.2, room * abs(height) / most)
                lines.append(
                    f"M{index * pitch + (pitch - thickness) / 2:.1f},{base:g}v{-up:.1f}h{thickness:.1f}v{up:.1f}z"
                )
        if lines:
            add(root, "path", {"class": style, "d": "".join(lines)})


def block_bars(decisions: Sequence[Decision]) -> str:
    """The score of every candidate when blocks were first compared, in execution order; empty where there are none."""
    blocks = [block for decision in decisions for block in decision.blocks]
    first = [score for score in next((b.scores for b in blocks if b.scores), ()) if isfinite(score.score)]
    if not first:
        return ""
    gone = {block.name: place for place, block in enumerate(blocks, 1)}
    mapped = {block.name for block in blocks if block.is_linearised}
    width, room = 372.0, 100.0
    is_named = len(first) <= 40
    height = 18 + room + (_LABEL_ROOM if is_named else 4)
    root = ElementTree.Element("svg", {"viewBox": f"-20 0 {width + 20:g} {height:g}", "class": "blocks", "role": "img"})
    add(root, "title", {}, f"importance of {len(first)} blocks, {len(gone)} of them removed")
    base, pitch = 18 + room, width / max(1, len(first))
    bars = add(root, "g")
    _bars(bars, [each.score for each in first], [each.unit in gone for each in first], width, room, base)
    add(root, "path", {"class": "axis", "d": f"M0,{base:g}H{width:g}"})
    short = without_common([each.unit for each in first])
    most = max((abs(each.score) for each in first), default=0.0) or 1.0
    for index, each in enumerate(first):
        middle = (index + 0.5) * pitch
        cell = add(root, "g", {"class": "cell"})
        how = "linearised" if each.unit in mapped else "removed"
        went = f", {how} as number {gone[each.unit]}" if each.unit in gone else ", kept"
        add(cell, "title", {}, f"{each.unit}: {each.score:.5f}{went}")
        add(
            cell,
            "rect",
            {"x": f"{index * pitch:.1f}", "y": "0", "width": f"{pitch:.1f}", "height": f"{base:g}", "class": "hit"},
        )
        if each.unit in gone and pitch >= 9:
            top = base - max(1.2, room * abs(each.score) / most) - 4
            add(
                cell,
                "text",
                {**at(round(middle, 1), round(top, 1), "number"), "text-anchor": "middle"},
                str(gone[each.unit]),
            )
        if is_named:
            turned = {
                "transform": f"translate({middle + 3:.1f},{base + 7:g})rotate(-58)",
                "text-anchor": "end",
                "class": "label",
            }
            add(cell, "text", turned, shorten(short[each.unit], 13))
    return ElementTree.tostring(root, encoding="unicode")
