"""The energy of a training: the formula by hand, and what the commands tell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest

from graphprune.errors import OptionError
from graphprune.evaluation.energy import Energy, Tracking
from graphprune.pipeline import training_energy
from graphprune.pipeline.training_energy import Meter
from tests.command import command
from tests.schemas import assert_published
from tests.small_cnns import stages
from tests.training.parts import network, samples

MEASURED = Energy(7200.0, 0.5, 60.0, "FRA", "rated power times load", rated_watts=90.0)


def test_power_times_time_times_grid() -> None:
    """90 W for a minute are 1.5 Wh, at 60 g per kWh 0.09 g, at 0.2 a kWh 0.0003."""
    found = training_energy.training_energy(MEASURED, Meter("FRA", price_per_kwh=0.2), 60.0)
    assert found.formula_joules == 5400
    assert found.formula_co2_grams == pytest.approx(0.09)
    assert found.formula_cost == pytest.approx(0.0003)
    assert (found.joules, found.co2_grams) == (7200, 0.5)
    assert found.cost == pytest.approx(0.0004)
    asked = training_energy.training_energy(MEASURED, Meter("FRA", watts=300), 60.0)
    assert (asked.formula_joules, asked.watts, asked.cost, asked.formula_cost) == (18_000, 300, None, None)


def test_a_machine_of_unknown_power_is_refused() -> None:
    unknown = Energy(1.0, 1.0, 1.0, "FRA", "RAPL counters")
    with pytest.raises(OptionError, match="rated power"):
        training_energy.training_energy(unknown, Meter("FRA"), 60.0)


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The country of each measurement, all of which give ``MEASURED``."""
    pytest.importorskip("torch").set_num_threads(1)
    countries = []

    @contextmanager
    def tracked(country: str) -> Iterator[Tracking]:
        tracking = Tracking()
        countries.append(country)
        yield tracking
        tracking.finish(MEASURED)

    monkeypatch.setattr(training_energy, "tracked", tracked)
    monkeypatch.setattr(training_energy, "grid_grams_per_kwh", lambda _: 60.0)
    monkeypatch.chdir(tmp_path)
    return countries


def test_the_commands_tell(
    running: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(network(), "net.onnx")
    images, labels = samples(60)
    np.savez("train.npz", images=images, labels=labels)
    fast = ["--data", "train.npz", "--epochs", 1, "--batch-size", 16, "--set", "augment=none,device=cpu"]
    paid = ["--energy", "--country", "FRA", "--price", 0.2, "--json", "out.json"]
    for words in (["train", "net.onnx"], ["finetune", "net.onnx", "--teacher", "net.onnx"]):
        assert command(monkeypatch, *words, *fast, *paid, "-o", f"{words[0]}.onnx") == 0
        printed = capsys.readouterr().out
        assert "energy in FRA: 2 Wh, 0.5 g CO2, cost 0.0004 by codecarbon" in printed
        assert "1.5 Wh, 0.09 g CO2, cost 0.0003 by 90 W x 60.0 s x 60 g/kWh" in printed
        told = json.loads(Path("out.json").read_text())
        assert_published(told)
        assert told["energy"]["formula_co2_grams"] == pytest.approx(0.09)
    assert running == ["FRA", "FRA"]
    assert command(monkeypatch, "train", "net.onnx", *fast, "-o", "other.onnx", "--json", "out.json") == 0
    assert json.loads(Path("out.json").read_text())["energy"] is None
    assert command(monkeypatch, "train", "net.onnx", *fast, "--watts", 80) == 2
    assert "--watts and --price are for --energy" in capsys.readouterr().err


def test_the_real_one_where_it_is_installed() -> None:
    pytest.importorskip("codecarbon")
    from graphprune.evaluation.energy import grid_grams_per_kwh, tracked

    with tracked("BRA") as tracking:
        sum(range(1_000_000))
    assert 0 < grid_grams_per_kwh("bra") < 1000
    assert tracking.energy.rated_watts is None or tracking.energy.rated_watts > 0


def test_growth_tells_that_of_all_its_trainings(
    running: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from graphprune.pipeline import grow
    from graphprune.scoring.join_vip import JoinVIP

    onnx.save(stages((2, 2), norms=True), "net.onnx")
    images = np.random.default_rng(0).standard_normal((40, 3, 12, 12)).astype(np.float32)
    np.savez("train.npz", images=images, labels=np.arange(40) % 4)
    monkeypatch.setattr(grow, "join_vips", lambda *_, **__: ([JoinVIP(0.5, 0.0)] * 2, True))
    words = [
        "--data",
        "train.npz",
        "--epochs",
        1,
        "--batch-size",
        20,
        "--set",
        "augment=none,device=cpu",
        "--json",
        "o.json",
    ]
    assert command(monkeypatch, "grow", "net.onnx", *words, "--energy", "--country", "FRA") == 0
    assert "energy in FRA: 2 Wh, 0.5 g CO2 by codecarbon" in capsys.readouterr().out
    told = json.loads(Path("o.json").read_text())
    assert_published(told)
    assert (running, told["energy"]["joules"]) == (["FRA"], 7200)
    assert command(monkeypatch, "grow", "net.onnx", "--stage", 0, "--energy") == 2
    assert "with --stage nothing is trained" in capsys.readouterr().err
