"""The groups of a model as a picture: one SVG file, drawn by hand, that needs nothing from anywhere.

Layers stand in a column in execution order, groups in a column beside it, at the first layer that writes each.
From its box a group's rail runs down between the columns, short ones inside;
it ends at every layer that reads the group, and further layers that write it join it. The layout of it all is in
:mod:`graphprune.report.rails`. Of a long network layers and groups that are alike are drawn once, see
:mod:`graphprune.report.group_folding`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from graphprune.report.group_folding import LONG, folded
from graphprune.report.group_style import STYLE, css_class
from graphprune.report.rails import Rail, lanes
from graphprune.report.svg import add, at, box
from graphprune.report.text import compact, shorten

if TYPE_CHECKING:
    from graphprune.report.inspection import GroupInspection, GroupRow

MOST_GROUPS = 400
"""With more groups than that, layers are not drawn, and rails run from group to group."""

_MOST_STOPS = 20_000
_ROW, _BOX, _MARGIN, _TOP = 26, 20, 16, 136
_OP_WIDTH, _GROUP_WIDTH = 310, 400
_LETTER = 6.7  # width of a letter of the monospaced font
_APART = 5  # a layer reads this much above its middle and writes as much below; a group gives out in its middle


def group_svg(inspection: GroupInspection) -> str:
    """The picture as XML text; every name is in it in full, as the title that shows when the pointer rests on it."""
    return _Picture(inspection).text()


class _Picture:
    def __init__(self, inspection: GroupInspection) -> None:
        self._is_folded = sum(kind == "op" for kind, _ in inspection.graph) > LONG
        self._whole = len(inspection.rows)
        self._free = sum(row.prunable for row in inspection.rows)
        self._kinds = Counter(row.kind for row in inspection.rows)
        if self._is_folded:
            inspection = folded(inspection)
        self._inspection = inspection
        self._graph = inspection.graph
        self._with_ops = len(inspection.rows) <= MOST_GROUPS
        self._limit = max(2, _MOST_STOPS // max(1, len(inspection.rows)))
        self._place()
        self._root = ElementTree.Element("svg")
        rails = self._rails()
        lane_of = lanes([rail.span for rail in rails])
        pitch = 14 if max(lane_of, default=0) < 40 else 6
        left = _MARGIN + (_OP_WIDTH if self._with_ops else _GROUP_WIDTH)
        self._lane_x = [left + 30 + pitch * lane for lane in lane_of]
        right = max(self._lane_x, default=left) + 30
        self._edges = (left, right)
        self._frame(max(right + (_GROUP_WIDTH if self._with_ops else 0), 760) + _MARGIN)
        for row, rail, x in zip(inspection.rows, rails, self._lane_x, strict=True):
            self._group(row, rail, x)
        if self._with_ops:
            for name in self._op_y:
                self._op(name)

    def text(self) -> str:
        return ElementTree.tostring(self._root, encoding="unicode") + "\n"

    def _place(self) -> None:
        """The height of every layer and group: a group stands at its first writer, or just below."""
        self._op_y: dict[str, int] = {}
        self._group_y: dict[str, int] = {}
        starts: dict[str, list[str]] = {}
        for row in self._inspection.rows:
            starts.setdefault(row.writers[0], []).append(row.name)
        ops = [vertex for vertex in self._graph if vertex[0] == "op" and self._touches(vertex)]
        y = _TOP
        for _, name in sorted(ops, key=lambda vertex: self._graph.nodes[vertex]["order"]):
            self._op_y[name] = y
            for index, group in enumerate(starts.get(name, ())):
                self._group_y[group] = y + index * _ROW
            y += _ROW * max(len(starts.get(name, ())), 1 if self._with_ops else 0)
        self._height = y + _MARGIN

    def _touches(self, op: tuple[str, str]) -> bool:
        """Whether a layer writes or reads a group; a normalisation that only scales one is not drawn."""
        around = (*self._graph.predecessors(op), *self._graph.successors(op))
        return any(kind == "group" for kind, _ in around)

    def _rails(self) -> list[Rail]:
        rails, limit = [], self._limit
        for row in self._inspection.rows:
            start = self._group_y[row.name]
            if self._with_ops:
                joins = [self._op_y[name] + _APART for name in row.writers[1:]]
                stops = [self._op_y[name] - _APART for name in row.readers]
            else:
                readers = [self._graph.successors(("op", name)) for name in row.readers]
                after = dict.fromkeys(name for found in readers for kind, name in found if kind == "group")
                joins, stops = [], [self._group_y[name] - _APART for name in after if name != row.name]
            stops.sort()
            rails.append(Rail(start, tuple(joins), (*stops[: limit - 1], *stops[limit - 1 :][-1:])))
        return rails

    def _frame(self, width: int) -> None:
        inspection, root = self._inspection, self._root
        root.attrib = {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {width} {self._height}",
            "width": str(width),
            "height": str(self._height),
            "role": "img",
        }
        add(root, "title", {}, f"groups of {Path(inspection.source).name}")
        add(root, "style", {}, STYLE)
        pattern = add(add(root, "defs"), "pattern", {"id": "hatch", "width": "6", "height": "6"})
        pattern.attrib |= {"patternUnits": "userSpaceOnUse", "patternTransform": "rotate(45)"}
        add(pattern, "rect", {"class": "hatch-ground", "width": "6", "height": "6"})
        add(pattern, "rect", {"class": "hatch-line", "width": "2", "height": "6"})
        add(root, "rect", {"class": "ground", "width": "100%", "height": "100%"})
        room = int((width - 2 * _MARGIN) / _LETTER)
        add(root, "text", at(_MARGIN, 22, "head"), shorten(Path(inspection.source).name, room))
        facts = f"{inspection.cost.macs:,} MACs, {inspection.cost.params:,} parameters; "
        facts += f"{self._free} of {self._whole} groups can shrink"
        if self._is_folded:
            facts += "; * stands for a number, what is alike is drawn once"
        if not self._with_ops:
            facts += f"; layers are left out, and of many readers all but {self._limit}"
        add(root, "text", at(_MARGIN, 40, "dim"), shorten(facts, room))
        self._legend()
        if self._with_ops:
            add(root, "text", at(_MARGIN, _TOP - 20, "column"), "layers, in the order of execution")
        place = self._edges[1] if self._with_ops else _MARGIN
        add(root, "text", at(place, _TOP - 20, "column"), "groups: what shrinks together, and its units")

    def _legend(self) -> None:
        """What colours, hatching and the ends of the lines mean."""
        root, x = self._root, float(_MARGIN)
        kinds = [(kind, f"{kind}: {count} group{'' if count == 1 else 's'}") for kind, count in self._kinds.items()]
        for kind, label in [*kinds, ("frozen", "cannot shrink")]:
            add(root, "rect", box(x, 56, 14, 12, css_class(kind)))
            add(root, "text", at(x + 20, 66), label)
            x += 36 + _LETTER * len(label)
        x, y = float(_MARGIN), 86
        marks = [(f"M{{x}},{y - 4}h16m0,0l-6,-3v6z", "writes it first, or reads it: where the arrow points")]
        if self._with_ops:
            marks.append((f"M{{x}},{y - 4}h12m-3,0a3,3,0,1,0,6,0a3,3,0,1,0,-6,0z", "writes it as well"))
        for drawing, label in marks:
            add(root, "path", {"class": "mark", "d": drawing.format(x=f"{x:g}")})
            add(root, "text", at(x + 24, y), label)
            x += 40 + _LETTER * len(label)

    def _group(self, row: GroupRow, rail: Rail, x: int) -> None:
        """The box of a group, its rail, and the curve from its first writer."""
        left, right = self._edges
        y = self._group_y[row.name]
        group = add(self._root, "g", {"class": f"group {css_class(row.kind)}{'' if row.prunable else ' frozen'}"})
        add(group, "title", {}, _describe(row))
        box_x, out_x = (right, right) if self._with_ops else (_MARGIN, left)
        lines, arrows = rail.paths(x, left, out_x)
        if self._with_ops:
            start, end = self._op_y[row.writers[0]] + _APART, y + _APART
            lines = f"M{left},{start}C{right - 30},{start},{left + 30},{end},{right - 5},{end}{lines}"
            arrows += f"M{right},{end}l-6,-3v6z"
        add(group, "path", {"class": "line", "d": lines})
        add(group, "path", {"class": "tip", "d": arrows})
        add(group, "rect", box(box_x, y - _BOX // 2, _GROUP_WIDTH, _BOX))
        size = f"{row.size:,} {_UNITS.get(row.kind, row.kind)}"
        room = int((_GROUP_WIDTH - 22) / _LETTER) - len(size)
        add(group, "text", at(box_x + 8, y + 4), shorten(row.name, room))
        add(group, "text", at(box_x + _GROUP_WIDTH - 8, y + 4, "end"), size)

    def _op(self, name: str) -> None:
        node, y = self._graph.nodes["op", name], self._op_y[name]
        weights = [weight for kind, weight in self._graph.predecessors(("op", name)) if kind == "weight"]
        shapes = [f"{weight}: {'x'.join(map(str, self._graph.nodes['weight', weight]['shape']))}" for weight in weights]
        op = add(self._root, "g", {"class": "op"})
        add(op, "title", {}, "\n".join([f"{node['kind']} {name}", *shapes, *filter(None, [node["reason"]])]))
        add(op, "rect", box(_MARGIN, y - _BOX // 2, _OP_WIDTH, _BOX))
        room = int((_OP_WIDTH - 22) / _LETTER) - len(node["kind"])
        add(op, "text", at(_MARGIN + 8, y + 4), shorten(node["label"], room))
        add(op, "text", at(_MARGIN + _OP_WIDTH - 8, y + 4, "end dim"), node["kind"])


_UNITS = {"width": "channels", "head-dim": "dimensions"}


def _describe(row: GroupRow) -> str:
    lines = [row.name, f"{row.size:,} {_UNITS.get(row.kind, row.kind)}"]
    lines.append(f"carries {row.macs:,} MACs, {row.params:,} parameters")
    if row.unit_macs is not None:
        lines.append(f"one unit: {compact(row.unit_macs)} MACs, {compact(row.unit_params or 0)} parameters")
    if row.reason:
        lines.append(f"cannot shrink: {row.reason} ({row.node})")
    return "\n".join([*lines, f"written by {_few(row.writers)}", f"read by {_few(row.readers) or 'no layer'}"])


def _few(names: Iterable[str], most: int = 12) -> str:
    shown = list(names)
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")
