"""The whole flow on one small network, in less than a minute: run it first, it finds what is broken everywhere.

Load, type, find, score, plan, rewrite, validate, repair, measure, evaluate and report; then every pass,
the plan once more, the bridge to PyTorch, training, and a mistake.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import graphprune
from graphprune import passes
from graphprune.errors import TargetNotReached
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from tests.command import command
from tests.decoder_graphs import Sizes, fused_decoder
from tests.decoder_steps import first_feeds
from tests.digests import digest
from tests.graphs import assert_same, ops, run
from tests.repair.nets import correlated, resnet
from tests.token_graphs import Shape, tokens, transformer
from tests.training.parts import network, samples

BLOCKS = 4
PASSES = ["filter-magnitude{ratio=0.2}", "layer-cka{floor=0,skip_first=false}"]
FAST = ["--threads", 1, "--batch-size", 8]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A residual network, samples to calibrate with and to evaluate with, and labels."""
    folder = tmp_path_factory.mktemp("tiny")
    onnx.save(resnet(BLOCKS), folder / "net.onnx")
    for name, count, seed in (("calib", 48, 3), ("eval", 64, 8)):
        feeds = correlated(count, seed)
        labels = run(folder / "net.onnx", feeds)[0].argmax(1)
        np.savez(folder / f"{name}.npz", x=feeds["x"], labels=labels)
    return folder


@pytest.fixture(scope="module")
def result(folder: Path) -> dict[str, Any]:
    """Some filters and blocks out, with everything that the command can do about it."""
    pytest.importorskip("jinja2", reason="the report needs the extra 'report'")
    pytest.importorskip("matplotlib", reason="the report needs the extra 'report'")
    words: list[object] = [folder / "net.onnx", "--data", folder / "calib.npz", "--eval", folder / "eval.npz"]
    words += [word for spec in PASSES for word in ("--pass", spec)]
    words += ["--target", "flops=0.6", "--repair", "stats,ridge"]
    words += ["--duration", 0.05, "--allow-slower", "--no-cache", "--align", 1]
    words += ["-o", folder / "small.onnx", "--plan-out", folder / "plan.json", "--report", folder / "report.html"]
    with pytest.MonkeyPatch.context() as patch:
        assert command(patch, *words, "--json", folder / "result.json", *FAST) == 0
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


def test_types_and_blocks_are_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "inspect", folder / "net.onnx", "--json", "-") == 0
    assert [join["reason"] for join in json.loads(capsys.readouterr().out)["joins"]] == [""] * BLOCKS
    assert command(monkeypatch, "inspect", folder / "net.onnx", "--groups", "--json", "-") == 0
    groups = {group["name"]: group for group in json.loads(capsys.readouterr().out)["groups"]}
    assert {name for name, group in groups.items() if group["prunable"]} == {
        "stem/width",
        *(f"a{block}/filters" for block in range(BLOCKS)),
    }


def test_blocks_and_filters_go_and_what_is_left_is_proved(folder: Path, result: dict[str, Any]) -> None:
    assert 0 < len(result["blocks_removed"]) < BLOCKS
    assert result["units_removed"]
    assert result["reached"] <= 0.6
    assert result["after"]["macs"] < result["before"]["macs"]
    assert result["validation"]["samples"] == 48
    assert result["validation"]["max_relative_error"] <= 1e-4
    onnx.checker.check_model(str(folder / "small.onnx"), full_check=True)
    small, whole = (ops(onnx.load(folder / name)) for name in ("small.onnx", "net.onnx"))
    assert len(whole) - len(small) == 7 * len(result["blocks_removed"])


def test_it_is_repaired_timed_and_evaluated(result: dict[str, Any]) -> None:
    assert {layer["method"] for layer in result["repair"]["layers"] if layer["is_kept"]} == {"stats", "ridge"}
    assert result["measurement"]["comparison"]["first"]["median_ms"] > 0
    assert result["evaluation"]["before"] == 1
    assert result["unrepaired"]["after"] < result["evaluation"]["after"] < 1


def test_the_report_shows_it(folder: Path, result: dict[str, Any]) -> None:
    page = (folder / "report.html").read_text()
    assert all(name in page for name in ("net.onnx", "filter-magnitude", "layer-cka", *result["blocks_removed"]))
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_the_plan_gives_the_same_bytes_again(
    folder: Path, result: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = folder / "again.onnx"
    words = [
        "apply",
        folder / "net.onnx",
        folder / "plan.json",
        "--data",
        folder / "calib.npz",
        "-o",
        out,
        "--no-bench",
    ]
    assert command(monkeypatch, *words, *FAST) == 0
    assert digest(out) == digest(folder / "small.onnx")


@pytest.mark.parametrize("name", passes.names())
def test_every_pass_prunes_a_network_of_its_kind(name: str) -> None:
    """Heads and neurons of a transformer, experts of a mixture, filters and blocks of the other."""
    target = "flops=0.8"
    if name in ("amp", "head-projection", "neuron-projection"):
        shape = Shape(layers=2, heads=4, kv_heads=4, depth=4, neurons=24, width=8)
        proto, data = transformer(shape), tokens(shape)
    elif name == "expert-use":  # a token goes to as many as before
        proto, target = fused_decoder(Sizes(layers=2, experts=6)), "params=0.8"
        data = first_feeds(load(proto), np.arange(28).reshape(4, 7) % 32)
    else:
        proto, data = resnet(BLOCKS), correlated(24) | {"labels": np.arange(24) % 4}
    timing = graphprune.TimingOptions(measure_latency=False)
    options = graphprune.RunOptions(timing=timing, align=1, batch=8)
    found = graphprune.prune(proto, [name], data, target, options=options)
    assert found.plan.reached <= 0.8
    assert found.validation is not None


def test_a_mistake_is_one_sentence_and_leaves_no_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder / "none.onnx"
    words = [folder / "net.onnx", "--pass", "layer-cka", "--target", "removed=99", "--data", folder / "calib.npz"]
    assert command(monkeypatch, *words, "-o", out, "--no-bench") == TargetNotReached.exit_code
    assert capsys.readouterr().err.startswith("graphprune: error: ")
    assert not out.exists()


def test_as_a_module_of_torch_and_back() -> None:
    torch = pytest.importorskip("torch", reason="the bridge leads there")
    from graphprune.torch_bridge import to_torch, write_back

    model, feeds = graphprune.load(resnet(BLOCKS)), correlated(4)
    module = to_torch(model)
    with torch.no_grad():
        assert_same([module(torch.from_numpy(feeds["x"])).numpy()], run(to_proto(model), feeds), 1e-4)
        next(module.parameters()).mul_(0.5)
        assert_same(
            [module(torch.from_numpy(feeds["x"])).numpy()], run(to_proto(write_back(model, module)), feeds), 1e-4
        )


def test_training_lowers_the_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a network that knows nothing yet."""
    pytest.importorskip("torch", reason="it trains")
    images, labels = samples(300)
    np.savez(tmp_path / "train.npz", images=images, labels=labels)
    onnx.save(network(4), tmp_path / "net.onnx")
    words = [tmp_path / "net.onnx", "--data", tmp_path / "train.npz", "-o", tmp_path / "tuned.onnx", "--epochs", 2]
    words += ["--batch-size", 16, "--lr", 0.01, "--set", "augment=none,device=cpu", "--json", tmp_path / "tuned.json"]
    assert command(monkeypatch, "finetune", *words) == 0
    told = json.loads((tmp_path / "tuned.json").read_text())
    losses = [epoch["held_out_loss"] for epoch in told["epochs"]]
    assert losses[told["kept"]] < 0.9 * losses[0]
    onnx.checker.check_model(str(tmp_path / "tuned.onnx"), full_check=True)
