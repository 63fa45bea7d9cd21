"""``graphprune grow``: by hand and by training; the stopping rule and what is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

pytest.importorskip("torch")

from graphprune.errors import ValidationFailed
from graphprune.pipeline import grow as growth
from graphprune.rewrite.growth import add_blocks
from graphprune.scoring.join_vip import JoinVIP
from graphprune.training import TrainOptions
from tests.command import command
from tests.graphs import assert_same, initialisers, random_feeds, run
from tests.schemas import assert_published
from tests.small_cnns import stages

FAST = TrainOptions(epochs=1, batch=20, lr=0.01, augment="none", device="cpu")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import torch

    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    labels = np.arange(80) % 4
    x = generator.standard_normal((80, 3, 12, 12)) + 0.4 * labels[:, None, None, None]
    np.savez(tmp_path / "train.npz", x=x.astype(np.float32), labels=labels)
    np.savez(tmp_path / "plain.npz", x=x.astype(np.float32))
    onnx.save(stages((2, 2), norms=True), tmp_path / "net.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_stage_by_hand(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["net.onnx", "--stage", 1, "--blocks", 3, "--start", "identity", "-o", "out.onnx", "--json", "out.json"]
    assert command(monkeypatch, "grow", *words, "--threads", 1) == 0
    told = json.loads((folder / "out.json").read_text())
    assert_published(told)
    assert (told["first"]["depths"], told["steps"][0]["network"]["depths"]) == ([2, 2], [2, 5])
    assert told["difference"] < 1e-5
    assert "stage 1 was named" in capsys.readouterr().out
    feeds = random_feeds(onnx.load("net.onnx"))
    assert_same(run(folder / "out.onnx", feeds), run(folder / "net.onnx", feeds))


def scripted(monkeypatch: pytest.MonkeyPatch, *figures: tuple[float, float]) -> None:
    """Importances of the stages of one network after the other."""
    left = iter(figures)

    def told(*_: Any, **__: Any) -> tuple[list[JoinVIP], bool]:
        return [JoinVIP(value, 0.0) for value in next(left)], True

    monkeypatch.setattr(growth, "join_vips", told)


def test_the_stages_that_gain_keep_their_blocks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First both, then one, then none: five networks are trained, for the first tried one is kept."""
    scripted(monkeypatch, (0.5, 0.5), (0.6, 0.6), (0.7, 0.6), (0.6, 0.7), (0.6, 0.7))
    found = growth.grow("net.onnx", folder / "out.onnx", "train.npz", FAST, blocks=1)
    assert [step.tried.depths for step in found.steps] == [(3, 3), (4, 4), (5, 4)]
    assert [step.grown for step in found.steps] == [(0, 1), (0,), ()]
    assert [step.network.depths for step in found.steps] == [(3, 3), (4, 3), (4, 3)]
    assert found.limit == "no stage gained by more blocks"
    assert sum(name.endswith("conv1.weight") for name in initialisers(onnx.load("out.onnx"))) == 7


def test_it_ends_after_so_many_iterations(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, (0.5, 0.5), (0.6, 0.6), (0.7, 0.7))
    found = growth.grow("net.onnx", folder / "out.onnx", "train.npz", FAST, blocks=2, iterations=2)
    assert (found.limit, found.steps[-1].network.depths) == ("2 iterations", (6, 6))


def test_weights_go_on_where_the_start_is_an_identity(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first network that is hardly trained has hardly other weights; one from scratch has."""
    slow = TrainOptions(epochs=1, batch=20, lr=1e-9, weight_decay=0, augment="none", device="cpu")
    before = initialisers(onnx.load("net.onnx"))["w0"]
    for start in ("identity", "fresh"):
        scripted(monkeypatch, (0.5, 0.5), (0.5, 0.6), (0.5, 0.6))
        growth.grow("net.onnx", folder / "out.onnx", "train.npz", slow, start=start, iterations=1)
        assert np.allclose(initialisers(onnx.load("out.onnx"))["w0"], before, atol=1e-5) is (start == "identity")


def test_the_command_trains_and_tells(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", "train.npz", "--epochs", 1, "--batch-size", 20, "--set", "augment=none,device=cpu"]
    assert command(monkeypatch, "grow", "net.onnx", *words, "--iterations", 1, "--blocks", 1, "--json", "out.json") == 0
    told = json.loads((folder / "out.json").read_text())
    assert_published(told)
    for network in (told["first"], told["steps"][0]["tried"]):
        assert all(0.5 < value <= 1 for value in network["importance"])
        assert 0 <= network["score"] <= 1
    assert (folder / "net.grown.onnx").is_file()
    assert "mean VIP of the stages" in capsys.readouterr().out


def test_refusals(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(monkeypatch, "grow", "net.onnx") == 2
    assert "give --data with labels, or --stage" in capsys.readouterr().err
    assert command(monkeypatch, "grow", "net.onnx", "--data", "plain.npz") == 1
    assert "has no labels" in capsys.readouterr().err
    assert not (folder / "net.grown.onnx").exists()


def test_a_growth_that_changes_what_was_there_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that is no identity, said to be one."""
    monkeypatch.setattr(
        growth, "add_blocks", lambda model, block, count, _, seed: add_blocks(model, block, count, "fresh", seed)
    )
    with pytest.raises(ValidationFailed, match="the grown network differs by"):
        growth.grow_stage("net.onnx", folder / "out.onnx", 0, 1, start="identity")
    assert not (folder / "out.onnx").exists()


TRAINED = ["--data", "train.npz", "--epochs", 1, "--batch-size", 20, "--set", "augment=none,device=cpu", "--blocks", 1]


def test_the_report_shows_every_network(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    scripted(monkeypatch, (0.5, 0.5), (0.6, 0.4), (0.61, 0.41), (0.6, 0.3))
    words = [*TRAINED, "--report", "out.html", "--json", "out.json"]
    assert command(monkeypatch, "grow", "net.onnx", *words) == 0
    page = (folder / "out.html").read_text()
    for name in ("first", "1 tried", "1 grown", "2 tried"):
        assert f"<td>{name}</td>" in page
    assert '<strong>3</strong><br><span class="why">0.6100' in page
    assert "What the added blocks bought" in page and "hollow: tried" in page
    assert "graphprune grow net.onnx" in page
    embedded = page.partition('id="result">')[2].partition("</script>")[0]
    assert json.loads(embedded) == json.loads((folder / "out.json").read_text())
    assert "wrote out.html" in capsys.readouterr().out


def test_a_stage_by_hand_has_a_page_without_figures_that_are_not_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    assert command(monkeypatch, "grow", "net.onnx", "--stage", 0, "--report", "out.html", "--threads", 1) == 0
    page = (folder / "out.html").read_text()
    assert "<strong>4</strong>" in page
    assert "mean VIP" not in page and "training of each network" not in page


def test_a_growth_goes_on_after_a_kill(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in the third training: the two before it are not done again, and the file is the same."""
    words = ["grow", "net.onnx", *TRAINED, "--iterations", 2, "-q"]
    told = [(0.5, 0.5), (0.6, 0.4), (0.6, 0.4), (0.6, 0.3)]
    scripted(monkeypatch, *told)
    assert command(monkeypatch, *words, "-o", "whole.onnx") == 0
    train, epochs, reports = vars(growth)["train"], [0, 0], list[Any]()

    def dies(*arguments: Any) -> Any:
        epochs[0] += 1
        if epochs[0] == 3:
            raise KeyboardInterrupt
        return train(*arguments)

    def watched(*arguments: Any) -> Any:
        found = train(*arguments)
        reports.append(found[1])
        return found

    scripted(monkeypatch, *told)
    monkeypatch.setattr(growth, "train", dies)
    assert command(monkeypatch, *words, "-o", "out.onnx") == 130
    assert sorted(path.name for path in folder.glob("*.checkpoint*")) == [
        "out.onnx.checkpoint.1",
        "out.onnx.checkpoint.2",
    ]
    scripted(monkeypatch, *told)
    monkeypatch.setattr(growth, "train", watched)
    assert command(monkeypatch, *words, "-o", "out.onnx") == 1  # not by chance
    assert command(monkeypatch, *words, "-o", "out.onnx", "--resume") == 0
    assert [report.resumed_at is not None for report in reports] == [True, True, False, False]
    assert (folder / "out.onnx").read_bytes() == (folder / "whole.onnx").read_bytes()
    assert not list(folder.glob("*.checkpoint*"))
