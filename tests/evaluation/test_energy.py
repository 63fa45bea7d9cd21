"""Energy through codecarbon: the arithmetic on a stand-in, the real one where it is installed."""

from __future__ import annotations

import logging
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graphprune.errors import OptionError, RuntimeMissing
from graphprune.evaluation import energy

USED: list[dict[str, Any]] = []


class Tracker:
    """One kWh and half a kilogram each."""

    def __init__(self, **settings: Any) -> None:
        logging.getLogger("codecarbon").error("a word from the library")
        USED.append(settings)
        self._hardware = [types.SimpleNamespace(_mode="intel_rapl")]

    def start(self) -> None: ...

    def stop(self) -> None:
        self.final_emissions_data = types.SimpleNamespace(energy_consumed=1.0, emissions=0.5, duration=2.0)


class Silent(Tracker):
    def stop(self) -> None: ...


def stand_in(monkeypatch: pytest.MonkeyPatch, tracker: type[Tracker]) -> None:
    module = types.ModuleType("codecarbon")
    source = types.SimpleNamespace(get_global_energy_mix_data=lambda: {"BRA": {}, "USA": {}})
    module.__dict__.update(OfflineEmissionsTracker=tracker, input=types.SimpleNamespace(DataSource=lambda: source))
    monkeypatch.setitem(sys.modules, "codecarbon", module)


def test_kilowatt_hours_become_joules(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    stand_in(monkeypatch, Tracker)
    with energy.tracked("bra") as tracking, pytest.raises(RuntimeError, match="not ended"):
        _ = tracking.energy
    assert tracking.energy == energy.Energy(3.6e6, 500.0, 2.0, "BRA", "RAPL counters")
    assert USED[-1]["save_to_file"] is False
    assert USED[-1]["allow_multiple_runs"] is True  # else it takes the process's signal handlers
    assert not caplog.records
    assert not logging.getLogger("codecarbon").disabled


def test_an_error_inside_comes_out_and_the_tracker_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, Tracker)
    with pytest.raises(ZeroDivisionError), energy.tracked("BRA"):
        raise ZeroDivisionError
    assert not logging.getLogger("codecarbon").disabled


def test_per_thousand_samples_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, Tracker)
    order: list[str] = []

    def work(name: str, samples: int) -> Callable[[], int]:
        def run() -> int:
            order.append(name)
            return samples

        return run

    first, second = energy.inference_energy([work("a", 10), work("b", 40)], "BRA", seconds=0.0, rounds=3)
    assert order == ["a", "b"] + ["a", "b"] * 3  # warm-up, then the rounds
    assert first.joules.value == pytest.approx(3.6e6 * 1000 / 10)
    assert second.joules.value == pytest.approx(3.6e6 * 1000 / 40)
    assert (first.samples, second.samples) == (30, 120)
    assert first.co2_grams.value == pytest.approx(500 * 1000 / 10)
    assert first.joules.standard_error == 0


def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, Silent)
    with pytest.raises(OptionError, match="no energy mix for the country 'XYZ'"), energy.tracked("XYZ"):
        pass
    with pytest.raises(RuntimeMissing, match="measured nothing"), energy.tracked("BRA"):
        pass
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    with pytest.raises(RuntimeMissing, match=r"pip install 'graphprune\[energy\]'"), energy.tracked("BRA"):
        pass


def test_the_real_library_measures_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("codecarbon")
    import signal
    import time

    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with energy.tracked("BRA") as tracking:
        started = time.perf_counter()
        while time.perf_counter() - started < 2.5:
            pass
    found = tracking.energy
    assert 1 < found.joules < 5_000
    assert found.seconds == pytest.approx(2.5, abs=1.5)
    kg_per_kwh = found.co2_grams / 1e3 / (found.joules / 3.6e6)
    assert 0.02 < kg_per_kwh < 0.3  # Brazil's mix is mostly water
    assert found.source in ("RAPL counters", "rated power times load", "rated power")
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
