"""How much each unit matters, as small bars: what was removed against what was kept, one picture per group."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite, log1p
from statistics import median
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from graphprune.plan.plan import Decision, RemovedUnits, Score
from graphprune.report.html.told import Told, leading, told
from graphprune.report.svg import add, at
from graphprune.report.text import shorten, without_common

_KIND = "score"
MOST_GROUPS = 48
_MOST_BARS = 64
_WIDTH, _HEIGHT, _BASE = 128.0, 44.0, 42.0
_LETTER = 5.2  # how far down a letter of a turned label reaches
_STEEP = 12.0


@dataclass(frozen=True)
class Multiple:
    """One small picture and what is written below it: ``label`` is the ``name`` of its group without what all share."""

    name: str
    label: str
    caption: str
    svg: str


def group_multiples(decisions: Sequence[Decision]) -> list[Multiple]:
    """One per group that lost units, those that lost the most MACs first where there are too many to show."""
    units = [units for decision in decisions for units in decision.units if units.scores]
    if len(units) > MOST_GROUPS:
        largest = sorted(units, key=lambda each: each.macs, reverse=True)[:MOST_GROUPS]
        units = [each for each in units if each in largest]
    short = without_common([each.group for each in units])
    return [_multiple(each, short[each.group]) for each in units]


def _multiple(units: RemovedUnits, label: str) -> Multiple:
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
    return Multiple(units.group, label, f"{units.size:,} to {kept:,}", ElementTree.tostring(root, encoding="unicode"))


def is_logarithmic(decisions: Sequence[Decision]) -> bool:
    """Whether the bars of :func:`block_bars` are so: one block would leave the others flat."""
    scores = [each.score for each in _first_scores(decisions)[0]]
    return bool(scores) and _visible(scores) != scores


def _label_room(labels: Iterable[str]) -> float:
    return 14 + _LETTER * max(map(len, labels))


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


def blocks_told(decisions: Sequence[Decision]) -> list[Told]:
    """What the bars have to say of each block."""
    first, gone = _first_scores(decisions)
    return told(_KIND, [_describe(each, gone) for each in first])


class _Gone(NamedTuple):
    """What became of a block, and when."""

    place: int
    how: str


def _first_scores(decisions: Sequence[Decision]) -> tuple[list[Score], dict[str, _Gone]]:
    """The scores when blocks were first compared, and which blocks went, with their place in the order."""
    blocks = [block for decision in decisions for block in decision.blocks]
    first = [score for score in next((b.scores for b in blocks if b.scores), ()) if isfinite(score.score)]
    return first, {
        block.name: _Gone(place, "linearised" if block.is_linearised else "removed")
        for place, block in enumerate(blocks, 1)
    }


def _describe(score: Score, gone: dict[str, _Gone]) -> str:
    found = gone.get(score.unit)
    went = "kept" if found is None else f"{found.how} as number {found.place}"
    return f"{score.unit}\n{score.score:.5f}, {went}"


def block_bars(decisions: Sequence[Decision]) -> str:
    """The score of every candidate when blocks were first compared, in execution order; empty where there are none."""
    first, gone = _first_scores(decisions)
    if not first:
        return ""
    width, room = 372.0, 100.0
    is_named = len(first) <= 40
    short = {name: shorten(each, 13) for name, each in without_common([each.unit for each in first]).items()}
    height = 18 + room + (_label_room(short.values()) if is_named else 4)
    root = ElementTree.Element(
        "svg", {"viewBox": f"-20 0 {width + 20:g} {height:g}", "class": "blocks", "role": "group"}
    )
    add(root, "title", {}, f"importance of {len(first)} blocks, {len(gone)} of them removed")
    base, pitch = 18 + room, width / max(1, len(first))
    bars = add(root, "g")
    heights = _visible([each.score for each in first])
    _bars(bars, heights, [each.unit in gone for each in first], width, room, base)
    add(root, "path", {"class": "axis", "d": f"M0,{base:g}H{width:g}"})
    most = max(map(abs, heights)) or 1.0
    for index, each in enumerate(first):
        middle = (index + 0.5) * pitch
        cell = leading(root, _KIND, index, "cell", _describe(each, gone))
        add(
            cell,
            "rect",
            {"x": f"{index * pitch:.1f}", "y": "0", "width": f"{pitch:.1f}", "height": f"{base:g}", "class": "hit"},
        )
        if each.unit in gone and pitch >= 9:
            top = base - max(1.2, room * abs(heights[index]) / most) - 4
            add(
                cell,
                "text",
                {**at(round(middle, 1), round(top, 1), "number"), "text-anchor": "middle"},
                str(gone[each.unit].place),
            )
        if is_named:
            turned = {
                "transform": f"translate({middle + 3:.1f},{base + 7:g})rotate(-58)",
                "text-anchor": "end",
                "class": "label",
            }
            add(cell, "text", turned, short[each.unit])
    return ElementTree.tostring(root, encoding="unicode")
