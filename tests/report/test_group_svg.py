"""The picture of groups: well-formed, complete, self-contained, and safe whatever names the model has."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

import onnx
import pytest

from graphprune.pipeline.inspect import inspect_groups
from graphprune.report import group_svg as module
from graphprune.report.group_folding import folded
from graphprune.report.group_svg import group_svg
from graphprune.report.inspection import GroupInspection
from graphprune.report.rails import lanes
from graphprune.run.options import RunOptions
from tests.graphs import build, residual_mlp

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = ['</text><script>alert("1")</script>', "a&b;<!--", "quote\"'>", "]]>", "\x00\x08\x1b", "名前" * 40, "x" * 500]


def inspection(proto: onnx.ModelProto) -> GroupInspection:
    found = inspect_groups(proto, None, RunOptions())
    return GroupInspection("model.onnx", found.cost, found.rows, found.missing, found.graph)


def drawn(proto: onnx.ModelProto) -> ElementTree.Element:
    return ElementTree.fromstring(group_svg(inspection(proto)))


def of_class(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [element for element in root.iter(f"{SVG}g") if name in element.get("class", "").split()]


def titles(elements: Sequence[ElementTree.Element]) -> list[str]:
    return [(element.findtext(f"{SVG}title") or "").splitlines()[0] for element in elements]


def test_every_group_and_layer_is_drawn() -> None:
    proto = residual_mlp(3)
    root = drawn(proto)
    assert titles(of_class(root, "group")) == [
        "stem/width",
        "first0/neurons",
        "first1/neurons",
        "first2/neurons",
        "head/neurons",
    ]
    assert sorted(titles(of_class(root, "op"))) == sorted(
        f"MatMul {node.name}" for node in proto.graph.node if node.op_type == "MatMul"
    )
    assert titles(of_class(root, "frozen")) == ["head/neurons"]
    assert titles(of_class(root, "width")) == ["stem/width"]
    width, height = map(float, (root.get("viewBox") or "").split()[2:])
    for box in root.iter(f"{SVG}rect"):
        if box.get("x"):
            assert float(box.get("x", "")) + float(box.get("width", "")) <= width
            assert float(box.get("y", "")) + float(box.get("height", "")) <= height


def test_layers_stand_in_execution_order() -> None:
    proto = residual_mlp(2)
    ops = of_class(drawn(proto), "op")
    names = [title.removeprefix("MatMul ") for title in titles(ops)]
    heights = dict(zip(names, (float(box.get("y", "")) for op in ops for box in op.iter(f"{SVG}rect")), strict=True))
    order = [node.name for node in proto.graph.node if node.op_type == "MatMul"]
    assert sorted(heights, key=heights.__getitem__) == order
    assert len(set(heights.values())) == len(order)


def test_a_group_is_joined_to_its_readers_and_writers() -> None:
    root = drawn(residual_mlp(2))
    groups = of_class(root, "group")
    tips = dict(zip(titles(groups), (group.findall(f"{SVG}path")[1].get("d", "") for group in groups), strict=True))
    arrow_into_layer, arrow_into_group, dot = "l6,-3v6z", "l-6,-3v6z", "a3,3"
    # stem writes first; second0 and second1 join; first0, first1 and head read
    assert [tips["stem/width"].count(tip) for tip in (arrow_into_group, f"{dot},0,1,0,6,0", arrow_into_layer)] == [
        1,
        2,
        3,
    ]
    assert [tips["first0/neurons"].count(tip) for tip in (arrow_into_group, dot, arrow_into_layer)] == [1, 0, 1]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_escaped(name: str) -> None:
    found = inspection(residual_mlp(1))
    row = found.rows[1]
    renamed = type(row)(**{**vars(row), "name": name, "kind": name, "reason": name, "node": name, "prunable": False})
    graph = found.graph.copy()
    graph.nodes["op", "first0"].update(label=name, kind=name, reason=name)
    text = group_svg(GroupInspection(name, found.cost, (found.rows[0], renamed), (), graph))
    root = ElementTree.fromstring(text)
    assert not list(root.iter(f"{SVG}script"))
    assert "<script" not in text
    assert len(of_class(root, "group")) == 2
    shown = re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f]", "\ufffd", name)
    assert (of_class(root, "group")[1].findtext(f"{SVG}title") or "").startswith(shown)


def test_nothing_is_fetched_and_nothing_runs() -> None:
    text = group_svg(inspection(residual_mlp(1)))
    root = ElementTree.fromstring(text)
    assert set(re.findall(r"https?://[^\"\s<]*", text)) == {"http://www.w3.org/2000/svg"}
    assert set(re.findall(r"url\(([^)]*)\)", text)) <= {"#hatch"}
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        "svg",
        "title",
        "style",
        "defs",
        "pattern",
        "rect",
        "text",
        "g",
        "path",
    }
    assert not [name for element in root.iter() for name in element.attrib if name.startswith("on") or "href" in name]
    assert "prefers-color-scheme:dark" in text


def test_a_very_big_model_is_drawn_without_its_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_GROUPS", 3)
    root = drawn(residual_mlp(3))
    assert len(of_class(root, "group")) == 5
    assert not of_class(root, "op")
    stem, first, *_ = of_class(root, "group")
    assert stem.findall(f"{SVG}path")[1].get("d", "").count("l6,-3v6z") == 4  # to first0, first1, first2 and head
    assert first.findall(f"{SVG}path")[1].get("d", "").count("l6,-3v6z") == 1  # back to the stream


def test_a_long_network_is_drawn_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers and groups that differ by a number in their names are one with a count, joined as each of them is."""
    proto = residual_mlp(3)
    for node in proto.graph.node:
        if node.name[-1:].isdigit():
            node.name = f"layers.{node.name[-1]}.{node.name[:-1]}"
    whole = inspection(proto)
    assert folded(whole).rows[0].readers == ("layers.0.first", "head")
    monkeypatch.setattr(module, "LONG", 4)
    root = drawn(proto)
    times = "\N{MULTIPLICATION SIGN}3"
    assert titles(of_class(root, "group")) == ["stem/width", f"layers.*.first/neurons {times}", "head/neurons"]
    assert len(of_class(root, "op")) == 4  # stem, first, second and head
    row = next(row for row in folded(whole).rows if times in row.name)
    assert row.macs == sum(each.macs for each in whole.rows if each.name.endswith("first/neurons"))
    texts = [text.text or "" for text in root.iter(f"{SVG}text")]
    assert f"layers.*.second {times}" in texts and "4 of 5 groups can shrink" in " ".join(texts)
    monkeypatch.setattr(module, "MOST_GROUPS", 2)
    stem = of_class(drawn(proto), "group")[0]
    assert stem.findall(f"{SVG}path")[1].get("d", "").count("l6,-3v6z") == 2  # to first and head


def test_the_picture_explains_itself() -> None:
    """Numbers with their units, and what arrows, dots and hatching are."""
    texts = [text.text or "" for text in drawn(residual_mlp(2)).iter(f"{SVG}text")]
    assert {"width: 1 group", "neurons: 3 groups", "cannot shrink", "writes it as well"} <= set(texts)
    assert sum(bool(re.fullmatch(r"[\d,]+ (channels|neurons)", text)) for text in texts) == 4


def test_size_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that many layers read is joined to the first of them and the last."""
    monkeypatch.setattr(module, "_MOST_STOPS", 10)
    stem = of_class(drawn(residual_mlp(8)), "group")[0]
    assert stem.findall(f"{SVG}path")[1].get("d", "").count("l6,-3v6z") == 2


def test_a_model_without_groups_is_drawn() -> None:
    root = drawn(build("(float[N,4] x) => (float[N,4] y) { y = Tanh(x) }"))
    assert not of_class(root, "group")


def test_no_two_rails_share_a_place() -> None:
    spans = [(0, 100), (10, 20), (20, 30), (15, 25), (90, 110), (0, 5), (100, 120)]
    found = lanes(spans)
    for i, (low, high) in enumerate(spans):
        for j, (other_low, other_high) in enumerate(spans[:i]):
            assert found[i] != found[j] or high <= other_low or other_high <= low
    assert max(found) == 2  # (10, 20), (15, 25) and (0, 100) meet: three lanes are the least
    assert found[0] == 2  # the longest is the outermost
