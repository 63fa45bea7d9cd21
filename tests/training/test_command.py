"""``graphprune finetune`` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from graphprune.cli import main  # noqa: E402 - torch may be missing
from graphprune.cli.finetune import finetune  # noqa: E402
from tests.command import command  # noqa: E402
from tests.digests import digest  # noqa: E402
from tests.schemas import assert_published  # noqa: E402
from tests.training.parts import network, samples  # noqa: E402

FAST = ["--epochs", "2", "--batch-size", "16", "--lr", "0.01", "--set", "augment=none,device=cpu"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dense network, a small one, samples with labels and without."""
    torch.set_num_threads(1)
    monkeypatch.setitem(main.cli.commands, "finetune", finetune)
    onnx.save(network(), tmp_path / "dense.onnx")
    onnx.save(network(4), tmp_path / "small.onnx")
    images, labels = samples(500)
    np.savez(tmp_path / "train.npz", images=images, labels=labels)
    np.savez(tmp_path / "plain.npz", images=images)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    return command(monkeypatch, "finetune", *words)


def test_table_json_and_file(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "small.onnx",
        "--teacher",
        "dense.onnx",
        "--data",
        "train.npz",
        "-o",
        "out.onnx",
        "--json",
        "-",
        "-v",
        *FAST,
    ]
    assert run(monkeypatch, *words) == 0
    told = capsys.readouterr()
    report = json.loads(told.out)
    assert_published(report)
    assert report["schema"] == "graphprune.training/1"
    assert (report["source"], report["teacher"], report["output"]) == ("small.onnx", "dense.onnx", "out.onnx")
    assert len(report["epochs"]) == 3
    assert "top-1" in told.err
    assert "wrote out.onnx" in told.err
    onnx.checker.check_model(onnx.load("out.onnx"))
    assert sorted(path.name for path in folder.iterdir()) == [
        "dense.onnx",
        "out.onnx",
        "plain.npz",
        "small.onnx",
        "train.npz",
    ]


def test_default_output(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "small.onnx", "--data", "train.npz", "-q", *FAST) == 0
    assert (folder / "small.tuned.onnx").exists()


def test_interrupted_run_keeps_its_checkpoint_and_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from graphprune.training.loop import Trainer

    words = ["small.onnx", "--data", "train.npz", "-o", "out.onnx", *FAST]
    assert run(monkeypatch, *words) == 0
    whole = digest(folder / "out.onnx")
    (folder / "out.onnx").unlink()
    step, done = Trainer._step, [0]

    def interrupted(self: Trainer, batch: object, index: int) -> object:
        done[0] += 1
        if done[0] == 35:
            raise KeyboardInterrupt
        return step(self, batch, index)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_step", interrupted)
        assert run(monkeypatch, *words) == 130
    assert "is kept in out.onnx.checkpoint; go on with --resume" in capsys.readouterr().err
    assert not (folder / "out.onnx").exists()
    assert run(monkeypatch, *words) == 1
    assert "the checkpoint out.onnx.checkpoint of an earlier run is there" in capsys.readouterr().err
    assert run(monkeypatch, *words, "--resume") == 0
    assert digest(folder / "out.onnx") == whole
    assert not (folder / "out.onnx.checkpoint").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["small.onnx"], 2, "Missing option '--data'"),
        (["small.onnx", "--data", "plain.npz"], 1, "has no labels, and there is no unpruned network"),
        (["small.onnx", "--data", "train.npz", "-o", "small.onnx"], 1, "is the input file itself"),
        (["small.onnx", "--teacher", "dense.onnx", "--data", "train.npz", "-o", "dense.onnx"], 1, "is the input file"),
        (["small.onnx", "--data", "train.npz", "--checkpoint", "train.npz"], 1, "is the input file itself"),
        (["small.onnx", "--data", "train.npz", "--epochs", "no"], 1, "training option epochs is 'no'"),
        (["small.onnx", "--data", "train.npz", "--set", "speed=2"], 1, "there is no training option 'speed'"),
        (["none.onnx", "--data", "train.npz"], 1, "none.onnx"),
        (["small.onnx", "--data", "none.npz"], 1, "there is no data file none.npz"),
        (["small.onnx", "--data", "train.npz", "--set", "device=cuda"], 6, "PyTorch cannot start here"),
    ],
)
def test_mistakes(
    words: list[str],
    code: int,
    message: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if code == 6 and torch.cuda.is_available():
        pytest.skip("CUDA starts here")
    before = sorted(folder.iterdir())
    assert run(monkeypatch, *words) == code
    assert message in capsys.readouterr().err
    assert sorted(folder.iterdir()) == before


def test_damaged_checkpoint_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "c").write_bytes(b"no checkpoint")
    assert run(monkeypatch, "small.onnx", "--data", "train.npz", "--checkpoint", "c", "--resume", "-q", *FAST) == 1
    assert "c is no checkpoint of this version" in capsys.readouterr().err
    assert (folder / "c").read_bytes() == b"no checkpoint"
