"""``graphprune train``: from the file's weights, what it keeps, and rewinding to it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from graphprune.errors import ModelError, OptionError  # noqa: E402 - torch may be missing
from graphprune.ir.export import to_proto  # noqa: E402
from graphprune.ir.loading import load  # noqa: E402
from graphprune.training import TrainOptions  # noqa: E402
from graphprune.training import train as learn  # noqa: E402
from graphprune.training.rewind import rewound  # noqa: E402
from tests.command import command  # noqa: E402
from tests.graphs import initialisers, residual_mlp  # noqa: E402
from tests.training.parts import data, model, network, options, samples, silent  # noqa: E402

FAST = ["--batch-size", "16", "--lr", "0.01", "--set", "augment=none,device=cpu", "-q"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    torch.set_num_threads(1)
    onnx.save(network(), tmp_path / "net.onnx")
    images, labels = samples(200)
    np.savez(tmp_path / "train.npz", images=images, labels=labels)
    np.savez(tmp_path / "plain.npz", images=images)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def weights(path: Path | str) -> dict[str, np.ndarray]:
    return initialisers(onnx.load(path))


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)


def test_rewound_training_goes_on_as_the_one_before_did() -> None:
    """Without momentum nothing but the weights, the rate and the order of the samples matters."""
    torch.set_num_threads(1)
    net, some = model(), data(200)
    plain = options(epochs=3, momentum=0.0, augment="crop-flip")
    _, report, kept = learn(net, some, plain, silent, keep=(0, 1, 3))
    assert sorted(kept) == [0, 1, 3]
    assert same(initialisers(to_proto(net)), initialisers(to_proto(kept[0])))
    _, again, ends = learn(kept[1], some, replace(plain, rewound=1), silent, keep=(3,))
    assert [row.lr for row in again.epochs[1:]] == [row.lr for row in report.epochs[2:]]
    one, other = (initialisers(to_proto(each)) for each in (kept[3], ends[3]))
    assert all(np.allclose(one[name], other[name], rtol=1e-5, atol=1e-6) for name in one)
    assert not np.allclose(one["w2"], initialisers(to_proto(kept[1]))["w2"], rtol=1e-3)


def test_what_is_kept_survives_a_kill(tmp_path: Path) -> None:
    some, path = data(200), tmp_path / "state"
    settings = options(epochs=3, checkpoint=path, resume=True)
    net = model()
    _, _, kept = learn(net, some, settings, silent, keep=(1, 2))

    def dies(task: str, done: int, total: int, /) -> None:
        if task == "training" and done > 2 * total // 3 + 1:
            raise KeyboardInterrupt

    path.unlink()
    with pytest.raises(KeyboardInterrupt):
        learn(net, some, settings, dies, keep=(1, 2))
    _, report, resumed = learn(net, some, settings, silent, keep=(1, 2))
    assert report.resumed_at == 3
    assert sorted(resumed) == [1, 2]
    assert all(same(initialisers(to_proto(kept[n])), initialisers(to_proto(resumed[n]))) for n in (1, 2))


def test_refuses_epochs_that_are_none() -> None:
    with pytest.raises(OptionError, match="epoch 4 is none of those trained"):
        learn(model(), data(100), options(epochs=3), silent, keep=(4,))
    with pytest.raises(OptionError, match="epoch 0 is none"):
        learn(model(), data(100), options(epochs=3, rewound=1), silent, keep=(0,))
    with pytest.raises(OptionError, match="of 3 epochs 3 are behind"):
        TrainOptions(epochs=3, rewound=3)


def test_rewinding_takes_weights_by_name() -> None:
    dense, small = load(residual_mlp(3)), residual_mlp(3)
    for tensor in small.graph.initializer:
        tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) + 1, tensor.name))
    back = initialisers(to_proto(rewound(load(small), dense)))
    assert same(back, initialisers(residual_mlp(3)))
    with pytest.raises(ModelError, match="has no weights 'a2'"):
        rewound(load(small), load(residual_mlp(2)))
    with pytest.raises(ModelError, match=r"'w_stem' is \[4, 8\] here and \[4, 6\]"):
        rewound(load(small), load(residual_mlp(3, 6)))


def test_the_lottery_from_end_to_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Initialised, trained, rewound: with the network itself in place of a pruned one."""
    assert command(monkeypatch, "init", "net.onnx", "--seed", 1, "-o", "fresh.onnx", "-q") == 0
    words = ["fresh.onnx", "--data", "train.npz", "--epochs", 3, "--keep", 1, "-o", "dense.onnx", *FAST]
    assert command(monkeypatch, "train", *words, "--json", "dense.json") == 0
    assert json.loads((folder / "dense.json").read_text())["teacher"] is None
    assert not same(weights("dense.onnx"), weights("dense.epoch1.onnx"))
    assert not same(weights("fresh.onnx"), weights("dense.epoch1.onnx"))
    words = ["dense.onnx", "--data", "train.npz", "--epochs", 3, "--rewind", 1, "--of", "dense.onnx", *FAST]
    assert command(monkeypatch, "train", *words, "--keep", 1, "-o", "winner.onnx") == 0
    assert same(weights("winner.epoch1.onnx"), weights("dense.epoch1.onnx"))
    assert "wrote winner.epoch1.onnx" in capsys.readouterr().out
    assert not list(folder.glob("*.checkpoint"))


def test_refusals_of_the_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "train", "net.onnx", "--data", "plain.npz", *FAST) == 1
    assert "there is nothing to learn from: plain.npz has no labels" in capsys.readouterr().err
    assert command(monkeypatch, "train", "net.onnx", "--data", "train.npz", "--rewind", 1) == 2
    assert "--rewind and --of belong together" in capsys.readouterr().err
    assert command(monkeypatch, "train", "net.onnx", "--data", "train.npz", "--rewind", 1, "--of", "net.onnx") == 2
    assert "train net.onnx with --keep 1 first" in capsys.readouterr().err


def test_a_ticket_of_filters_starts_with_the_weights_of_that_epoch(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Algorithm 1 with filters: cut by the plan out of the weights after epoch 1, not out of the last ones."""
    words = ["net.onnx", "--data", "train.npz", "--epochs", 3, "--keep", 1, "-o", "dense.onnx", *FAST]
    assert command(monkeypatch, "train", *words) == 0
    cut = ["--pass", "filter-magnitude", "--target", "flops=0.6", "--align", 1, "--data", "train.npz", "--no-bench"]
    assert command(monkeypatch, "dense.onnx", *cut, "--plan-out", "plan.json", "-o", "small.onnx", "-q") == 0
    back = ["small.onnx", "--data", "train.npz", "--epochs", 3, "--rewind", 1, "--of", "dense.onnx", *FAST]
    assert command(monkeypatch, "train", *back) == 1
    assert "--plan PLAN" in capsys.readouterr().err
    assert command(monkeypatch, "train", *back, "--plan", "plan.json", "--keep", 1, "-o", "ticket.onnx") == 0
    start, small, epoch = (weights(name) for name in ("ticket.epoch1.onnx", "small.onnx", "dense.epoch1.onnx"))
    assert {name: values.shape for name, values in start.items()} == {
        name: values.shape for name, values in small.items()
    }
    kept = json.loads((folder / "plan.json").read_text())["decisions"][0]["units"][0]
    left = np.delete(np.arange(kept["size"]), kept["removed"])
    thinner = [name for name in start if start[name].shape != epoch[name].shape]
    assert any(np.array_equal(start[name], epoch[name][left]) for name in thinner)
    assert not any(np.array_equal(start[name], small[name]) for name in thinner)
    assert command(monkeypatch, "train", "net.onnx", *back[1:], "--plan", "plan.json") == 1
    assert "give the plan that the pruned network was made by" in capsys.readouterr().err
    assert command(monkeypatch, "train", "net.onnx", "--data", "train.npz", "--plan", "plan.json") == 2
