"""Training between removals: what is proved, repaired and trained, in which order, and what is written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import graphprune
from graphprune import DataOptions, RecoveryOptions, RunOptions, RuntimeOptions, TimingOptions
from graphprune.errors import OptionError
from tests.command import command
from tests.repair.nets import correlated, resnet
from tests.schemas import assert_published

pytest.importorskip("torch", reason="training needs PyTorch")
from graphprune.training import TrainOptions

pytestmark = pytest.mark.slow

TRAINING = TrainOptions.parse("epochs=1,batch=16,lr=0.001,device=cpu,augment=none")
OPTIONS = RunOptions(
    data=DataOptions(samples=32),
    timing=TimingOptions(measure_latency=False),
    recovery=RecoveryOptions(finetune=TRAINING, finetune_every="removal"),
    runtime=RuntimeOptions(threads=1),
)


@pytest.fixture(scope="module")
def small_resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "resnet.onnx"
    onnx.save(resnet(5, inner=16), path)
    return path


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few images, with labels."""
    path = tmp_path_factory.mktemp("data") / "train.npz"
    np.savez(path, labels=np.random.default_rng(0).integers(0, 4, 96), **correlated(96))  # type: ignore[arg-type]
    return path


def test_after_every_removal_comes_a_round(small_resnet: Path, labelled: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.onnx"
    result = graphprune.prune(small_resnet, ["layer-cka"], labelled, "removed=2", out, options=OPTIONS)
    assert [len(decision.blocks) for decision in result.plan.decisions] == [1, 1]
    assert len(result.training) == 2
    assert result.repair is not None and result.repair.layers
    assert result.validation is not None and result.validation.max_relative_error < 1e-4
    before, after = ({t.name: t for t in onnx.load(path).graph.initializer} for path in (small_resnet, out))
    assert after.keys() <= before.keys()
    assert all(list(tensor.dims) == list(before[name].dims) for name, tensor in after.items())
    content = result.to_dict()["training"]
    assert_published(json.loads(result.to_json()))
    assert [report["schema"] for report in content] == ["graphprune.training/1"] * 2


def test_after_every_pass(small_resnet: Path, labelled: Path) -> None:
    """The second pass scores, and is compared with, what the training of the first has made."""
    options = replace(OPTIONS, recovery=replace(OPTIONS.recovery, finetune_every="pass"))
    result = graphprune.prune(small_resnet, ["layer-cka", "filter-magnitude"], labelled, "flops=0.8", options=options)
    assert result.validation is not None and result.validation.max_relative_error < 1e-4
    assert len(result.training) == sum(decision.removed_count > 0 for decision in result.plan.decisions)


def test_units_go_a_tenth_at_a_time(small_resnet: Path, labelled: Path) -> None:
    result = graphprune.prune(small_resnet, ["filter-magnitude"], labelled, "flops=0.8", options=OPTIONS)
    first = result.plan.decisions[0]
    assert first.removed_count == pytest.approx(first.considered / 10, abs=1)
    assert len(result.plan.decisions) == len(result.training) > 1
    assert result.after.macs <= 0.8 * result.before.macs


def test_a_dry_run_trains_nothing(small_resnet: Path, labelled: Path) -> None:
    result = graphprune.prune(small_resnet, ["layer-cka"], labelled, "removed=2", dry_run=True, options=OPTIONS)
    assert result.training == ()
    assert len(result.plan.blocks) == 2


def test_each_round_has_its_checkpoint_and_they_go(
    small_resnet: Path, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graphprune.training import finetune

    seen: list[Path | None] = []

    def watched(*args: object) -> object:
        options = next(each for each in args if isinstance(each, TrainOptions))
        seen.append(options.checkpoint)
        return finetune(*args)  # type: ignore[arg-type]

    monkeypatch.setattr("graphprune.pipeline.rounds.finetune", watched)
    options = replace(
        OPTIONS, recovery=replace(OPTIONS.recovery, finetune=replace(TRAINING, checkpoint=tmp_path / "state"))
    )
    graphprune.prune(small_resnet, ["layer-cka"], labelled, "removed=2", tmp_path / "small.onnx", options=options)
    assert seen == [tmp_path / "state.1", tmp_path / "state.2"]
    assert [path.name for path in tmp_path.iterdir()] == ["small.onnx"]


def test_refusals(small_resnet: Path, labelled: Path) -> None:
    with pytest.raises(OptionError, match="a ratio cannot be the target of training after every removal"):
        graphprune.prune(small_resnet, ["layer-cka"], labelled, "ratio=0.3", options=OPTIONS)
    with pytest.raises(OptionError, match="training needs samples"):
        graphprune.prune(small_resnet, ["layer-cka"], None, "removed=1", options=OPTIONS)


def test_the_command(
    small_resnet: Path,
    labelled: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [small_resnet, "--pass", "layer-cka", "--target", "removed=1", "--data", labelled, "--num-samples", 32]
    words += ["--no-bench", "--threads", 1, "-o", tmp_path / "small.onnx"]
    assert command(monkeypatch, *words, "--finetune", "epochs=0") == 2
    assert "training option epochs is 0" in capsys.readouterr().err
    assert command(monkeypatch, *words, "--finetune", "epochs=1,device=cpu,augment=none") == 0
    printed = capsys.readouterr().out
    assert "trained on" in printed
    assert max(map(len, printed.splitlines())) <= max(80, len(f"wrote {tmp_path / 'small.onnx'}"))
