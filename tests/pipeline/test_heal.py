"""Pruning and applying with healing: after the repair, noted in the plan, told in the result."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

import graphprune  # noqa: E402 - torch may be missing
from graphprune.base import extras  # noqa: E402
from graphprune.data.dataset import load_data  # noqa: E402
from graphprune.errors import OptionError, RuntimeMissing  # noqa: E402
from graphprune.ir.loading import load  # noqa: E402
from graphprune.report.result import Result  # noqa: E402
from graphprune.training import budget_of, healing  # noqa: E402
from graphprune.training.stream import is_held_out, row_hashes, trained_on  # noqa: E402
from tests.command import command  # noqa: E402
from tests.graphs import initialisers  # noqa: E402
from tests.schemas import assert_published  # noqa: E402
from tests.small_cnns import stages  # noqa: E402

HEAL = "20,lr=3e-4,batch=16,device=cpu"


@cache
def dense() -> onnx.ModelProto:
    """With blocks that do something: their norms' scales are large."""
    proto = stages([3], norms=True)
    for tensor in proto.graph.initializer:
        if tensor.name in ("g0", "g1", "g2"):
            tensor.CopyFrom(onnx.numpy_helper.from_array(8 * onnx.numpy_helper.to_array(tensor), tensor.name))
    return proto


@cache
def images() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((150, 3, 12, 12)).astype(np.float32)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    torch.set_num_threads(1)
    onnx.save(dense(), tmp_path / "dense.onnx")
    np.savez(tmp_path / "images.npz", x=images())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def options(heal: str | None, *, plan: bool = False) -> graphprune.RunOptions:
    chosen = "none" if heal == "none" else None if heal is None else healing(heal)
    return graphprune.RunOptions(
        timing=graphprune.TimingOptions(measure_latency=False),
        recovery=graphprune.RecoveryOptions(repair=None if plan else ("stats",), heal=chosen),  # type: ignore[arg-type]
    )


def healed(heal: str | None = HEAL, plan: graphprune.Plan | None = None) -> Result:
    if plan is not None:
        return graphprune.apply(dense(), plan, {"x": images()}, options=options(heal, plan=True))
    return graphprune.prune(dense(), "layer-magnitude{floor=0}", {"x": images()}, "removed=2", options=options(heal))


@pytest.mark.slow
def test_the_plan_notes_it_and_is_applied_with_it() -> None:
    result = healed()
    assert result.plan.repair == ("stats", "heal=20,lr=0.0003,batch=16")
    (report,) = result.training
    assert report.goal == "healing"
    assert report.after.held_out_loss < report.before.held_out_loss
    assert result.recovery == "repair and healing"
    plan = graphprune.Plan.from_dict(json.loads(result.plan.to_json()))
    again = healed(None, plan)
    assert again.to_onnx() == result.to_onnx()
    without = healed("none", plan)
    assert without.training == ()
    assert without.repair is not None
    assert without.to_onnx() != result.to_onnx()


def test_what_judges_the_healing_was_not_repaired_on() -> None:
    data = load_data({"x": images()}, load(dense()), None)
    left = trained_on(data, 0.1)
    seen = [row_hashes(batch) for batch in left.batches(32)]
    assert not is_held_out(np.concatenate(seen), 0.1).any()
    result = healed()
    assert result.repair is not None
    (report,) = result.training
    assert result.repair.samples == report.train_samples == sum(map(len, seen))
    assert report.held_out_samples == len(images()) - report.train_samples > 0


@pytest.mark.slow
def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    words = ["dense.onnx", "--pass", "layer-magnitude{floor=0}", "--target", "removed=2", "--data", "images.npz"]
    more = [
        "--no-bench",
        "--repair",
        "stats",
        "--heal",
        HEAL,
        "-o",
        "out.onnx",
        "--json",
        "out.json",
        "--report",
        "out.html",
    ]
    assert command(monkeypatch, *words, *more) == 0
    told = json.loads((folder / "out.json").read_text())
    assert_published(told)
    (report,) = told["training"]
    losses = [row["held_out_loss"] for row in report["epochs"]]
    assert losses[report["kept"]] < losses[0]
    assert "healed on" in capsys.readouterr().out
    assert "held-out loss" in (folder / "out.html").read_text()
    assert command(monkeypatch, *words, "--heal", "soon") == 2
    assert "'soon' is neither a number of steps nor a time" in capsys.readouterr().err


def test_healing_on_other_samples(folder: Path) -> None:
    others = np.random.default_rng(1).standard_normal((90, 3, 12, 12)).astype(np.float32)
    how = graphprune.RunOptions(
        timing=graphprune.TimingOptions(measure_latency=False),
        recovery=graphprune.RecoveryOptions(heal=healing(HEAL), heal_data={"x": others}),
    )
    result = graphprune.prune(dense(), "layer-magnitude{floor=0}", {"x": images()}, "removed=1", options=how)
    (report,) = result.training
    assert report.train_samples + report.held_out_samples == 90


def test_without_samples_or_torch_it_is_refused_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match="healing needs samples"):
        graphprune.prune(dense(), "layer-magnitude{floor=0}", None, "removed=1", options=options(HEAL))

    def missing() -> None:
        raise RuntimeMissing("PyTorch is not installed", "run: pip install 'graphprune[torch]'")

    monkeypatch.setattr(extras, "torch", missing)
    with pytest.raises(RuntimeMissing, match="PyTorch is not installed"):
        healed()


def test_budgets_are_written_as_they_are_read() -> None:
    for text in ("400", "600s", "auto", "30,lr=0.0001,junctions=0.5"):
        assert budget_of(healing(text)) == text
    assert budget_of(healing("10min", "checkpoint=c,resume=true")) == "600s"


def test_python_faces(folder: Path) -> None:
    small = healed("none").to_onnx()
    done = graphprune.heal(small, dense(), {"x": images()}, folder / "out.onnx", budget=HEAL)
    assert done.report.goal == "healing"
    assert done.to_dict()["output"] == str(folder / "out.onnx")
    written = initialisers(onnx.load(folder / "out.onnx"))
    mine = initialisers(done.to_onnx())
    assert all(np.array_equal(written[name], mine[name]) for name in mine)
    assert not list(folder.glob("*.checkpoint*"))
    assert repr(done).startswith("Trained(a ModelProto: loss ")
    assert done.module() is not None
    labels = np.arange(len(images())) % 4
    tuned = graphprune.finetune(small, {"x": images(), "labels": labels}, training="epochs=1,batch=16,device=cpu")
    assert tuned.output is None
    assert tuned.report.goal == "training"
    with pytest.raises(OptionError, match="there is nothing to learn from"):
        graphprune.finetune(small, {"x": images()})
