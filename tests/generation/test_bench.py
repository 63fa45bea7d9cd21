"""``graphprune bench --generate`` from end to end, with small decoders."""

from __future__ import annotations

import io
import json
from pathlib import Path

import onnx
import pytest
from rich.console import Console

from graphprune.generation import measure
from graphprune.generation.measure import GenerationMeasurement, PointMeasurement
from graphprune.measure.timing import Comparison, Latency
from graphprune.pipeline import generate
from graphprune.report.generation_table import headlines, print_generation
from tests.command import command
from tests.decoder_graphs import Sizes, plain_decoder
from tests.generation.folders import genai_folder, optimum_folder
from tests.schemas import assert_published

_OPTIONS = ("--threads", "1", "--duration", "0")


def comparison(ms: float, ratio: float, low: float, high: float) -> Comparison:
    first, second = (Latency(each, each, each) for each in (ms, ms * ratio))
    return Comparison(first, second, ratio, low, high, 10)


def test_two_files_and_a_json_that_keeps_to_its_schema(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = optimum_folder(tmp_path / "whole")
    onnx.save(plain_decoder(Sizes(layers=1)), tmp_path / "small.onnx")
    words = ("bench", folder, tmp_path / "small.onnx", "--generate=8:4,12:3", "--json", tmp_path / "out.json")
    assert command(monkeypatch, *words, *_OPTIONS) == 0
    content = json.loads((tmp_path / "out.json").read_text())
    assert_published(content)
    assert content["schema"] == "graphprune.generation/1"
    (measured,) = content["measurements"]
    assert [(point["prompt"], point["new"]) for point in measured["points"]] == [(8, 4), (12, 3)]
    for point in measured["points"]:
        assert point["wall"]["first"]["median_ms"] > point["first_token"]["first"]["median_ms"] > 0
        if Path("/proc/self/status").is_file():
            assert all(10 << 20 < held < 2 << 30 for held in point["peak_bytes"])
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert "12:3" in printed


def test_default_points_are_shortened_to_the_context_and_genai_stands_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime_genai", reason="onnxruntime-genai is not installed")
    monkeypatch.setattr(measure, "_ROUNDS", 2)
    monkeypatch.setattr(generate, "peak_bytes", lambda *_: None)
    one, other = genai_folder(tmp_path / "one"), genai_folder(tmp_path / "other", Sizes(layers=1))
    runtimes = ("--runtime", "ort", "--runtime", "genai")
    assert command(monkeypatch, "bench", one, other, *_OPTIONS, *runtimes, "--generate") == 0
    printed = capsys.readouterr().out
    assert printed.count("16:32") == printed.count("32:32") == 2
    assert "onnxruntime-genai " in printed


def test_table_is_readable_at_80_columns() -> None:
    def point(prompt: int, new: int) -> PointMeasurement:
        times = comparison(54321.5, 0.7, 0.6, 0.8), comparison(412.345, 1.2, 1.1, 1.3), comparison(9e5, 1, 0.9, 1.1)
        return PointMeasurement(prompt, new, *times, (2.4, 2.0), (5 << 30, None))

    where = {"runtime": "onnxruntime 1.32.0", "provider": "CPUExecutionProvider", "threads": 2, "processor": "P" * 30}
    measurement = GenerationMeasurement((point(16, 256), point(512, 128)), 1, where)
    console = Console(width=80, file=io.StringIO(), record=True, force_terminal=False)
    print_generation(console, [measurement], "models/long-name-of-a-model/a.onnx", "models/other/b.onnx")
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    assert "5120" in text and "?" in text and "512:128" in text
    assert "long-name" in text and "models/long" not in text


def test_sentences_say_which_phase_is_slower() -> None:
    point = PointMeasurement(
        16,
        256,
        comparison(10, 1.5, 1.4, 1.6),
        comparison(2, 0.5, 0.4, 0.6),
        comparison(500, 0.5, 0.4, 0.6),
        (500, 1000),
    )
    tokens, first = headlines(point)
    assert tokens == "prompt 16, 256 new: 2.00x the tokens/s [1.67, 2.50]"
    assert first == "prompt 16, 256 new: first token in 1.50x the time [1.40, 1.60], SLOWER"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--generate=8:1",), "no points of a generation"),
        (("--generate", "--runtime", "torch"), "nothing generates on the runtime 'torch'"),
    ],
)
def test_what_cannot_be_timed_is_said(
    words: tuple[str, ...],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = optimum_folder(tmp_path / "o")
    assert command(monkeypatch, "bench", folder, folder, *_OPTIONS, *words) in (1, 2)
    assert says in capsys.readouterr().err


def test_a_model_made_for_fewer_tokens_is_refused_before_anything_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = genai_folder(tmp_path / "g")
    monkeypatch.setattr("graphprune.pipeline.generate.measure_points", None)
    assert command(monkeypatch, "bench", folder, folder, *_OPTIONS, "--generate=60:20") == 1
    assert "shorter points" in capsys.readouterr().err
