"""``graphprune evaluate`` where outputs are no class scores, or where the user has a metric."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from graphprune.ir.loading import load
from tests.command import command
from tests.decoder_graphs import Sizes, plain_decoder
from tests.decoder_steps import first_feeds, steps
from tests.graphs import build
from tests.schemas import assert_published

TEXT = "(float[N,2,3] x, float[N,3] z) => (float[N,2,3] y, float[N,3] s) { a = Mul(x, gain) y = Tanh(a) s = Neg(z) }"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, gain in (("a", 1.0), ("b", 1.0), ("c", 1.5)):
        onnx.save(build(TEXT, {"gain": np.array([gain], np.float32)}), tmp_path / f"{name}.onnx")
    onnx.save(build("(float[N,2,3] x) => (float[N,2,3] y) { y = Tanh(x) }"), tmp_path / "other.onnx")
    onnx.save(build("(float[N,2,3] x, float[N,3] z) => (float[N,3] s) { s = Neg(z) }"), tmp_path / "fewer.onnx")
    generator = np.random.default_rng(0)
    x, z = (generator.standard_normal(shape).astype(np.float32) for shape in ((9, 2, 3), (9, 3)))
    np.savez(tmp_path / "d.npz", x=x, z=z, labels=np.tanh(x))
    np.savez(tmp_path / "plain.npz", x=x, z=z)
    script = "def gap(batches):\n    return max(abs(o['y'] - s['labels']).max() for o, s in batches)\n"
    (tmp_path / "own.py").write_text(script)
    return tmp_path


def test_outputs_are_compared_with_those_of_the_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", *(folder / f"{name}.onnx" for name in "abc"), "--json", folder / "r.json"]
    assert command(monkeypatch, *words, "--data", folder / "plain.npz", "--batch-size", 4) == 0
    content = json.loads((folder / "r.json").read_text())
    assert_published(content)
    assert (content["reference"], content["samples"], content["rows"]) == ("outputs", 9, [])
    first, same, other = content["outputs"]
    assert first["outputs"] == []
    assert [output["relative_error"] for output in same["outputs"]] == [0.0, 0.0]
    assert [output["relative_error"] > 0.1 for output in other["outputs"]] == [True, False]
    out = capsys.readouterr().out
    assert "9 samples of plain.npz, outputs against those of A" in out


def test_a_metric_of_the_users_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", folder / "a.onnx", folder / "c.onnx", "--data", folder / "d.npz", "--json", folder / "r.json"]
    metric = ["--metric", f"{folder}/own.py:gap"]
    assert command(monkeypatch, *words, *metric) == 0
    content = json.loads((folder / "r.json").read_text())
    assert content["metric"] == "gap"
    assert content["outputs"][0]["metric"] < 1e-5 < 0.05 < content["outputs"][1]["metric"]
    assert "gap" in capsys.readouterr().out
    assert command(monkeypatch, *words, *metric, "--corruptions", "noise") == 1
    assert "a metric judges clean samples only" in capsys.readouterr().err


def test_decoders_with_caches_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first has fewer layers and heads than the second: what is fed to the one is no part of the other's."""
    for name, sizes in (("a", Sizes(layers=1, kv_heads=1)), ("b", Sizes(layers=2))):
        onnx.save(plain_decoder(sizes), tmp_path / f"{name}.onnx")
    ids = np.random.default_rng(0).integers(0, 40, (6, 5))
    np.savez(tmp_path / "ids.npz", input_ids=ids)
    words = ["evaluate", tmp_path / "a.onnx", tmp_path / "b.onnx", "--json", tmp_path / "r.json", "--data"]
    assert command(monkeypatch, *words, tmp_path / "ids.npz") == 0
    (perplexity, *_) = json.loads((tmp_path / "r.json").read_text())["rows"]
    alone = [sum(losses(tmp_path / f"{name}.onnx", ids)) / (6 * 4) for name in "ab"]
    assert [each["value"] for each in perplexity["values"]] == pytest.approx(np.exp(alone), rel=1e-4)
    script = "def rows(batches):\n    return sum(len(o['logits']) for o, _ in batches)\n"
    (tmp_path / "own.py").write_text(script)
    assert command(monkeypatch, *words, tmp_path / "ids.npz", "--metric", f"{tmp_path}/own.py:rows") == 0
    assert [each["metric"] for each in json.loads((tmp_path / "r.json").read_text())["outputs"]] == [6, 6]
    full = first_feeds(load(tmp_path / "a.onnx"), ids)
    grown = {name: np.zeros((6, 1, 2, 16), np.float32) if "past" in name else array for name, array in full.items()}
    held: dict[str, Any] = grown | {"attention_mask": np.ones((6, 7), np.int64)}
    np.savez(tmp_path / "full.npz", **held)
    assert command(monkeypatch, *words, tmp_path / "full.npz", "--metric", f"{tmp_path}/own.py:rows") == 1
    assert "the data hold the cache of another decoder" in " ".join(capsys.readouterr().err.split())


def losses(path: Path, ids: np.ndarray) -> list[float]:
    """The surprise at each token but the first, prompt by prompt."""
    logits = next(steps(onnx.load(path), ids, None, count=0))["logits"].astype(np.float64)
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return [-np.log(shares[row, at, ids[row, at + 1]]) for row in range(len(ids)) for at in range(ids.shape[1] - 1)]


@pytest.mark.parametrize(("name", "says"), [("other", "compare like with like"), ("fewer", "has other outputs than")])
def test_unlike_models_are_refused(
    name: str, says: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", folder / "a.onnx", folder / f"{name}.onnx", "--data", folder / "plain.npz"]
    assert command(monkeypatch, *words) == 1
    assert says in " ".join(capsys.readouterr().err.split())
