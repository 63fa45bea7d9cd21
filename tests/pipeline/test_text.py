"""Pruning a language model on text from the command line and from Python."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

import graphprune
from graphprune.errors import OptionError
from tests.command import command
from tests.decoder_graphs import Sizes, fused_decoder, plain_decoder
from tests.schemas import assert_published
from tests.text.tokenizers import words, write_tokenizer

SIZES = Sizes(layers=2, vocabulary=300, neurons=32)
WORDS = ["--pass", "neuron-projection", "--target", "ratio=0.25", "--align", "1", "--no-bench", "--threads", 1]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    onnx.save(fused_decoder(SIZES), tmp_path / "model.onnx")
    write_tokenizer(tmp_path)
    for seed, name in enumerate(("corpus", "test")):
        (tmp_path / f"{name}.txt").write_text(words(6_000, seed), encoding="utf-8")
    lines = [json.dumps({"body": words(200, seed)}) for seed in range(9)]
    (tmp_path / "lines.jsonl").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


@pytest.mark.parametrize("evaluation", ["text", "test.txt"])
def test_text_in_and_perplexity_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], evaluation: str
) -> None:
    more = [
        "--data",
        "corpus.txt",
        "--eval",
        evaluation,
        "--chunk-tokens",
        32,
        "--num-samples",
        12,
        "--json",
        "out.json",
    ]
    assert command(monkeypatch, "prune", "model.onnx", *WORDS, *more, "-o", "small.onnx") == 0
    printed = capsys.readouterr().out
    for label in ("perplexity on 12 chunks", "before repair", "top-1 agreement", "KL to the original, nats"):
        assert label in printed
    assert max(map(len, printed.splitlines())) <= 80
    content = json.loads((folder / "out.json").read_text())
    assert_published(content)
    found = content["evaluation"]
    assert (found["kind"], found["samples"], found["text"]["after"]["tokens"]) == ("perplexity", 12, 12 * 31)
    assert found["before"] == found["text"]["before"]["perplexity"]["value"]
    assert content["plan"]["data"]["origin"] == "corpus.txt in chunks of 32 tokens"

    more = ["--data", "test.txt", "--chunk-tokens", 32, "--samples", 10, "--threads", 1, "--json", "both.json"]
    assert command(monkeypatch, "evaluate", "model.onnx", "small.onnx", *more) == 0
    printed = capsys.readouterr().out
    assert "10 samples of test.txt in chunks of 32 tokens, 310 next tokens" in printed
    assert "perplexity ↓" in printed
    assert_published(json.loads((folder / "both.json").read_text()))


def test_records_and_a_tokenizer_elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "elsewhere").mkdir()
    (folder / "tokenizer.json").rename(folder / "elsewhere" / "tokenizer.json")
    text = ["--data", "lines.jsonl", "--chunk-tokens", 16, "--text-field", "body"]
    assert command(monkeypatch, "inspect", "model.onnx", *text, "-q") == 1
    assert command(monkeypatch, "inspect", "model.onnx", *text, "-q", "--tokenizer", "elsewhere") == 0


@pytest.mark.parametrize("make", [fused_decoder, plain_decoder])
def test_the_report_tells_the_perplexity(folder: Path, make: Callable[..., onnx.ModelProto]) -> None:
    pytest.importorskip("jinja2")
    onnx.save(make(SIZES), folder / "model.onnx")
    text = graphprune.TextOptions(chunk_tokens=32)
    options = graphprune.RunOptions(
        batch=2,
        align=1,
        data=graphprune.DataOptions(samples=8, evaluation="text", text=text),
        timing=graphprune.TimingOptions(measure_latency=False),
        runtime=graphprune.RuntimeOptions(threads=1),
        report=Path("report.html"),
    )
    result = graphprune.prune(
        "model.onnx", "neuron-projection", data="corpus.txt", target="ratio=0.25", output="small.onnx", options=options
    )
    assert result.evaluation is not None
    assert result.evaluation.text is not None
    page = Path("report.html").read_text(encoding="utf-8")
    assert "chunks of text" in page
    assert "KL to the original" in page
    assert "TextOptions(chunk_tokens=32)" in page or "--chunk-tokens" in page


def test_a_part_of_the_data_can_be_held_out_of_text_only(folder: Path) -> None:
    options = graphprune.RunOptions(data=graphprune.DataOptions(evaluation="text"))
    with pytest.raises(OptionError, match="--eval text judges on a part of --data, which is no text"):
        graphprune.prune("model.onnx", "neuron-projection", data="ids.npz", options=options)
    with pytest.raises(OptionError, match="which is no text"):
        graphprune.prune("model.onnx", "neuron-projection", options=replace(options, batch=2))


@pytest.mark.parametrize("name", ["neuron-projection", "filter-obs"])
def test_the_largest_cut_within_a_rise_of_the_perplexity(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    more = ["--pass", name, "--align", 1, "--no-bench", "--threads", 1, "--data", "corpus.txt", "--chunk-tokens", 32]
    more += ["--num-samples", 12, "--json", "out.json", "--drop-by", "estimate"]
    assert command(monkeypatch, "prune", "model.onnx", *more, "--max-drop", "2%", "-o", "small.onnx") == 0
    assert "more perplexity on" in " ".join(capsys.readouterr().out.split())
    content = json.loads((folder / "out.json").read_text())
    reached, found = content["plan"]["budget"]["reached"], content["evaluation"]
    assert reached["kind"] == "perplexity"
    assert reached["value"] == pytest.approx(found["after"] / found["before"] - 1)
    assert reached["value"] <= 0.02
