"""The HTML report: complete, self-contained, the same every time, and safe whatever names the model has."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest

import graphprune
from graphprune.base.graded import Graded
from graphprune.evaluation.accuracy import Evaluation
from graphprune.evaluation.drop import of_answers
from graphprune.evaluation.language import TextFigure, TextFigures, TextQuality
from graphprune.generation.measure import GenerationMeasurement, PointMeasurement
from graphprune.measure.timing import Comparison, Latency
from graphprune.repair.outcome import LayerRepair, RepairReport
from graphprune.report.evidence.html_report import HtmlReport
from graphprune.report.html import page as module
from graphprune.report.html.headline import figures
from graphprune.report.html.importance import _visible, block_bars
from graphprune.report.html.page import embedded, render
from graphprune.report.html.pictures import ReportData
from graphprune.report.result import Result
from graphprune.training.report import EpochReport, TrainingReport
from tests.graphs import residual_mlp
from tests.report.html_page import Page

pytest.importorskip("jinja2", reason="the report needs the extra 'report'")
pytest.importorskip("matplotlib", reason="the report needs the extra 'report'")

pytestmark = pytest.mark.xdist_group("report")
HOSTILE = [
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "a&b<!--",
    "x' onload='y",
    "\x00\x1b",
    "</title></svg></style><b>",
    "{{ 7*7 }}",
    "\u2028名前",
]
Shown = tuple[Result, ReportData]


def samples(count: int = 24) -> Mapping[str, np.ndarray]:
    return {"x": np.random.default_rng(0).standard_normal((count, 4)).astype(np.float32)}


def shown(
    monkeypatch: pytest.MonkeyPatch,
    source: onnx.ModelProto,
    passes: list[str],
    target: str,
    options: graphprune.RunOptions,
) -> Shown:
    """Prune with a report, and keep what it was made from."""
    kept: list[Shown] = []
    gather = HtmlReport._gather

    def keep(self: HtmlReport, result: Result, *others: Any, again: bool) -> ReportData:
        kept.append((result, gather(self, result, *others, again=again)))
        return kept[0][1]

    monkeypatch.setattr(HtmlReport, "_gather", keep)
    graphprune.prune(source, passes, data=samples(), target=target, options=options)
    return kept[0]


@pytest.fixture(scope="module")
def blocks_gone(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    path = tmp_path_factory.mktemp("report") / "blocks.html"
    with pytest.MonkeyPatch.context() as patch:
        options = graphprune.RunOptions(
            report=path,
            data=graphprune.DataOptions(evaluation=samples(40)),
            timing=graphprune.TimingOptions(seconds=0.05, allow_slower=True),
        )
        return shown(patch, residual_mlp(5), ["layer-cka"], "removed=2", options)


@pytest.fixture(scope="module")
def units_gone(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    path = tmp_path_factory.mktemp("report") / "units.html"
    with pytest.MonkeyPatch.context() as patch:
        options = graphprune.RunOptions(report=path, timing=graphprune.TimingOptions(measure_latency=False))
        return shown(patch, residual_mlp(3), ["filter-magnitude"], "flops=0.7", options)


def test_a_run_with_blocks_has_its_sections(blocks_gone: Shown) -> None:
    result, pictures = blocks_gone
    page = Page(render(result, pictures))
    assert set(page.sections) == {
        "network",
        "importance-blocks",
        "latency",
        "trajectory",
        "similarity",
        "recovery",
        "blocks",
        "reproduce",
        "environment",
    }
    assert re.search(
        r"(faster|slower|no difference in time)\s*\d+\.\d\d\N{MULTIPLICATION SIGN}", page.text.replace("\n", "")
    )
    assert "agreement with the original" in page.text
    gone = [block.name for block in result.plan.blocks]
    assert all(f"{name} (removed)" in page.sections["network"] for name in gone)
    assert page.sections["blocks"].count("removed as number") == 2
    assert "others mattered less" in page.sections["blocks"]
    assert "passes=['layer-cka']" in page.sections["reproduce"]


@pytest.mark.parametrize(
    ("both", "lost", "gained", "value", "tone"),
    [
        (1880, 17, 11, "\N{MINUS SIGN}0.30 pt", ""),
        (1886, 11, 2, "\N{MINUS SIGN}0.45 pt", "bad"),  # were other samples judged, that would be chance
        (1000, 0, 800, "+40.00 pt", "good"),
    ],
)
def test_the_drop_is_the_headline(blocks_gone: Shown, both: int, lost: int, gained: int, value: str, tone: str) -> None:
    """Coloured by the paired test: of 2,000 samples both networks are right on so many, the first or second alone on
    so many.
    """
    right = np.zeros((2, 2000), bool)
    right[:, :both] = right[0, both : both + lost] = right[1, both + lost : both + lost + gained] = True
    before, after = right.mean(1).tolist()
    evaluation = Evaluation("top1", before, after, 2000, drop=of_answers(*right))
    (found,) = (each for each in figures(replace(blocks_gone[0], evaluation=evaluation)) if each.label == "top-1")
    assert (found.value, found.tone) == (value, tone)
    assert ("chance" in found.details[1]) == (tone == "") and ", paired" in found.details[1]
    assert f"{100 * after:.2f} %" in found.details[0]


def test_notes_have_grades(blocks_gone: Shown) -> None:
    """The gravest first, told apart by a word and a class; the file has them beside the sentences."""
    notes = (Graded("so it is"), Graded("all is lost", "alarm"), "of another package", Graded("few", "caution"))
    result = replace(blocks_gone[0], notes=notes)
    page = Page(render(result, blocks_gone[1]))
    assert [attributes["class"] for tag, attributes in page.elements if "note" in (attributes.get("class") or "")] == [
        "note alarm",
        "note caution",
        "note fact",
        "note fact",
    ]
    assert re.search(r"Alarm all is lost\s+Caution few\s+Note so it is\s+Note of another package", page.text)
    assert page.embedded["notes"] == list(notes)
    assert page.embedded["note_grades"] == ["fact", "alarm", "fact", "caution"]


def test_a_run_with_units_has_its_sections(units_gone: Shown) -> None:
    result, pictures = units_gone
    page = Page(render(result, pictures))
    assert set(page.sections) == {
        "network",
        "importance-units",
        "frontier",
        "recovery",
        "blocks",
        "groups",
        "reproduce",
        "environment",
    }
    for units in result.plan.units:
        left = units.size - len(units.removed)
        assert f"{units.group}{units.size} to {left}" in re.sub(r"\s+\n", "", page.sections["importance-units"])
    assert "height: share of the MACs; nothing was timed" in page.sections["network"]
    assert page.text.count("not measured") == 2  # neither time nor quality
    assert "it feeds the output" in page.sections["groups"] or "cannot go" in page.sections["groups"]


def test_units_of_many_channels_are_shown_as_such(units_gone: Shown) -> None:
    result, pictures = units_gone
    one, *others = pictures.groups
    rows = (replace(one, size=2, removed=1, unit_channels=384), *others)
    found = Page(render(result, replace(pictures, groups=rows))).sections["groups"]
    assert found.count(" channels") == 1
    assert "2 to 1 \N{MULTIPLICATION SIGN} 384 channels" in found


def test_a_few_towering_units_do_not_hide_the_others() -> None:
    assert _visible([1.0, 2.0, 3.0]) == [1.0, 2.0, 3.0]
    assert _visible([0.0, 0.0, 5.0]) == [0.0, 0.0, 5.0]
    steep = _visible([0.5, 1.0, 2.0, 1e6])
    assert steep == sorted(steep) and steep[0] > steep[-1] / 50


def test_what_did_not_run_is_not_shown(blocks_gone: Shown) -> None:
    result, pictures = blocks_gone
    bare = replace(result, measurement=None, evaluation=None, repair=None, validation=None)
    page = Page(render(bare, pictures))
    assert not {"latency", "recovery"} & set(page.sections)
    assert "dry run" in page.text
    assert "validation error" not in page.text and "agreement" not in page.text


def test_repair_and_training_are_told(units_gone: Shown) -> None:
    result, pictures = units_gone
    layers = (LayerRepair("one", "ridge", 0.4, 0.1, True, "penalty 1"), LayerRepair("two", "ridge", 0.2, 0.3, False))
    epochs = tuple(EpochReport(n, None, None, 1.0 / (n + 1), 0.5 + 0.1 * n, 1.0) for n in range(4))
    training = TrainingReport("top1", epochs, 3, 900, 100, "cpu", "none", "epochs=3")
    page = Page(
        render(replace(result, repair=RepairReport(("ridge",), layers, 64, 1.0), training=(training,)), pictures)
    )
    text = re.sub(r"\s+", " ", page.sections["recovery"])
    assert "repair and training" in text
    assert "ridge1 of 20.30.2" in text.replace(" of ", " of ").replace(" 0", "0")
    assert "epoch 3 was kept" in text
    assert "held-out top-1, %" in text


def test_generation_and_text_are_shown(units_gone: Shown) -> None:
    """Medians and intervals of both phases, and the figures on text before and after repair."""

    def times(one: float, other: float, low: float, high: float) -> Comparison:
        return Comparison(Latency(one, one, one), Latency(other, other, other), other / one, low, high, 12)

    def text(perplexity: float, agreement: float, kl_nats: float) -> TextFigures:
        return TextFigures(4096, *(TextFigure(value, value / 10) for value in (perplexity, agreement, kl_nats)))

    result, pictures = units_gone
    points = (
        PointMeasurement(
            16, 64, times(20, 21, 0.9, 1.2), times(10, 8, 0.75, 0.85), times(700, 600, 0.8, 0.9), (100, 125)
        ),
        PointMeasurement(512, 16, times(200, 260, 1.2, 1.4), times(12, 12, 0.9, 1.1), times(1, 1, 0.9, 1.1), (80, 80)),
    )
    original, repaired, cut = text(30, 1, 0), text(40, 0.6, 0.3), text(50, 0.5, 0.4)
    both = [Evaluation("perplexity", 30, 40, 8, text=TextQuality(original, each)) for each in (repaired, cut)]
    repair = RepairReport(("ridge",), (), 8, 1.0)
    whole = replace(result, evaluation=both[0], unrepaired=both[1], repair=repair)
    page = Page(render(replace(whole, generation=GenerationMeasurement(points, 1, {})), pictures))
    words = {name: re.sub(r"\s+", " ", text) for name, text in page.sections.items()}
    assert "prompt 16, 64 newfirst token, ms20211.050 [0.900, 1.200]" in words["generation"]
    assert "per token after it, ms1080.800 [0.750, 0.850]" in words["generation"]
    assert "tokens/s100.0125.01.250 [1.176, 1.333]" in words["generation"]
    tones = [attributes["class"] for tag, attributes in page.elements if tag == "td" and attributes.get("class")]
    assert (tones.count("n good"), tones.count("n bad")) == (2, 1)
    assert "4,096 next tokens in 8 chunks" in words["text"]
    assert "before repairperplexity30.00 ±3.0050.00 ±5.00" in words["text"]
    assert "perplexity30.00 ±3.0040.00 ±4.00" in words["text"]
    assert "same likeliest token60.00 ±6.00 %" in words["text"]
    assert "KL to the original, nats0.3000 ±0.0300" in words["text"]
    head = re.sub(r"\s+", " ", page.text)
    assert "tokens/s1.25\N{MULTIPLICATION SIGN}100.0 to 125.0, 95 % interval 1.18 to 1.33prompt 16, 64 new" in head
    assert "first token1.30\N{MULTIPLICATION SIGN}200 to 260 ms, 95 % interval 1.20 to 1.40" in head
    assert not {"generation", "text"} & set(Page(render(result, pictures)).sections)


def test_nothing_is_loaded_from_anywhere(blocks_gone: Shown, units_gone: Shown) -> None:
    for result, pictures in (blocks_gone, units_gone):
        page = Page(render(result, pictures))
        assert all(url.startswith("#") for url in page.urls())
        assert not re.search(r"url\((?!#)|@import|//cdn|https?://", page.source)
        assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
        assert [attributes for tag, attributes in page.elements if tag == "script"] == [
            {"type": "application/json", "id": "result"}
        ]
        assert not {tag for tag, _ in page.elements} & {"link", "img", "iframe", "object", "embed", "base", "form"}


def test_every_reference_in_the_page_is_there_once(blocks_gone: Shown) -> None:
    page = Page(render(*blocks_gone))
    ids = [str(attributes["id"]) for _, attributes in page.elements if "id" in attributes]
    assert set(re.findall(r'(?:url\(|href=")#([\w-]+)', page.source)) <= set(ids)
    assert sorted(set(ids)) == sorted(ids)


def test_what_a_pointer_tells_is_told_without_one(blocks_gone: Shown, units_gone: Shown) -> None:
    """Each part of a picture that has a tooltip is a link to the same words: by tap and key, and without a script."""
    for shown_run, kinds in ((blocks_gone, {"part", "score", "alike"}), (units_gone, {"part"})):
        source = render(*shown_run)
        links = re.findall(r'<a href="#([\w-]+)" class="[\w ]+"><title>([^<]*)</title>', source)
        rows = dict(re.findall(r'<li id="([\w-]+)">(.*?)</li>', source))
        assert {anchor.rpartition("-")[0] for anchor, _ in links} == kinds
        for anchor, title in links:
            assert re.sub("<[^>]*>", "\n", rows[anchor]).split() == title.split()
        drawn = re.findall(r"<g[^>]*><title>", source)
        assert not drawn  # nothing else shows words to a pointer only


def test_the_same_run_gives_the_same_bytes(blocks_gone: Shown) -> None:
    assert render(*blocks_gone) == render(*blocks_gone)


def test_the_whole_result_is_embedded(blocks_gone: Shown, units_gone: Shown) -> None:
    for result, pictures in (blocks_gone, units_gone):
        assert Page(render(result, pictures)).embedded == json.loads(result.to_json())


def test_large_plans_leave_their_scores_out_and_say_so(units_gone: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    result, pictures = units_gone
    monkeypatch.setattr(module, "_JSON_LIMIT_BYTES", 100)
    page = Page(render(result, pictures))
    assert "without the scores of single units" in page.text
    expected = json.loads(result.to_json())
    for decision in expected["plan"]["decisions"]:
        for units in decision["units"]:
            assert units["scores"]
            units["scores"] = []
    assert page.embedded == expected


def hostile_result(result: Result, pictures: ReportData) -> Shown:
    """Every text that comes from the model, the data or the command line is one that would do harm."""
    names = {name: HOSTILE[i % len(HOSTILE)] for i, name in enumerate(pictures.similarity.names)}
    blocks = tuple(
        replace(
            block,
            name=names.get(block.name, HOSTILE[0]),
            scores=tuple(replace(score, unit=names.get(score.unit, HOSTILE[1])) for score in block.scores),
        )
        for block in result.plan.blocks
    )
    decision = replace(result.plan.decisions[0], blocks=blocks, spec=HOSTILE[0], limit=HOSTILE[1])
    plan = replace(result.plan, decisions=(decision,), asked=HOSTILE[5])
    parts = tuple(
        replace(
            part,
            name=HOSTILE[i % len(HOSTILE)],
            reason=HOSTILE[1],
            layers=tuple(replace(layer, name=HOSTILE[0]) for layer in part.layers),
        )
        for i, part in enumerate(pictures.strip.parts)
    )
    similarity = replace(pictures.similarity, names=tuple(names.values()), removed=frozenset(HOSTILE), note=HOSTILE[2])
    rows = tuple(
        replace(row, name=HOSTILE[i % len(HOSTILE)], reason=HOSTILE[0]) for i, row in enumerate(pictures.blocks)
    )
    bad = ReportData(
        replace(pictures.strip, parts=parts, caption=HOSTILE[0]),
        similarity,
        rows,
        (),
        dict(zip(HOSTILE, HOSTILE, strict=True)),
        HOSTILE[0],
        "console",
    )
    return replace(result, source=HOSTILE[0], plan=plan, notes=tuple(HOSTILE)), bad


def test_hostile_names_stay_text(blocks_gone: Shown) -> None:
    result, pictures = hostile_result(*blocks_gone)
    page, tame = Page(render(result, pictures)), Page(render(*blocks_gone))
    tags = {tag for tag, _ in page.elements}
    assert tags <= {tag for tag, _ in tame.elements} | {"p", "wbr"}
    assert sum(tag == "script" for tag, _ in page.elements) == 1
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert "</script><script>alert(1)</script>" in page.text
    assert "{{ 7*7 }}" in page.text and "49" not in page.sections["environment"]
    assert page.embedded == json.loads(result.to_json())
    assert page.embedded["notes"] == HOSTILE


def test_embedded_json_holds_no_markup(blocks_gone: Shown) -> None:
    result, _ = hostile_result(*blocks_gone)
    text, _ = embedded(result)
    assert not set("<>&\u2028") & set(text)


def test_blocks_of_several_decisions_are_numbered_through(blocks_gone: Shown) -> None:
    """A pass in steps, or two passes in turn: one picture of the first comparison, with all that went."""
    (decision,) = blocks_gone[0].plan.decisions
    steps = [replace(decision, blocks=(block,)) for block in decision.blocks]
    assert len(steps) == 2
    bars = block_bars(steps)
    assert bars == block_bars([decision])
    assert re.findall(r">(\d)</text>", bars) == ["1", "2"] or re.findall(r">(\d)</text>", bars) == ["2", "1"]
    assert block_bars([replace(decision, blocks=())]) == ""
    result = replace(blocks_gone[0], plan=replace(blocks_gone[0].plan, decisions=tuple(steps)))
    assert render(result, blocks_gone[1]).count("<code>layer-cka</code>") == 1
