"""Electrical energy and CO2 of a piece of work, by codecarbon without a network connection and without files.

Where the processor has no readable energy counter (RAPL; most virtual machines),
codecarbon estimates from the processor's rated power and its load: ``Energy.source`` says which. The whole machine is
counted, so keep it quiet while measuring.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphprune.base import extras
from graphprune.errors import OptionError, RuntimeMissing
from graphprune.evaluation.paired import Estimate, mean

DEFAULT_COUNTRY = "USA"
JOULES_PER_KWH = 3.6e6
_SOURCES = {"intel_rapl": "RAPL counters", "cpu_load": "rated power times load", "constant": "rated power"}


@dataclass(frozen=True)
class Energy:
    """``joules`` of processor, memory and graphics card together, over ``seconds``;
    ``co2_grams`` at the country's mix. ``rated_watts`` is what the processor is built for, as codecarbon has it; None
    where it reads the energy itself.
    """

    joules: float
    co2_grams: float
    seconds: float
    country: str
    source: str
    rated_watts: float | None = None


class Tracking:
    """Handed out by :func:`tracked`; ``energy`` is there once the block has ended."""

    def __init__(self) -> None:
        self._energy: Energy | None = None

    @property
    def energy(self) -> Energy:
        if self._energy is None:
            raise RuntimeError("the tracked block has not ended yet")
        return self._energy

    def finish(self, energy: Energy) -> None:
        """Set the result."""
        self._energy = energy


def known_country(country: str) -> str:
    """The three-letter ISO code in capitals.

    Raises
    ------
    OptionError
        codecarbon has no figures for the country.
    RuntimeMissing
        codecarbon is not installed.
    """
    code = country.upper()
    if code not in extras.codecarbon().input.DataSource().get_global_energy_mix_data():
        raise OptionError(f"codecarbon has no energy mix for the country '{country}'", "give a code like BRA or FRA")
    return code


@contextmanager
def tracked(country: str = DEFAULT_COUNTRY) -> Iterator[Tracking]:
    """Measure what runs inside the block: ``with tracked("BRA") as tracking: ...``, then ``tracking.energy``.

    ``country`` is a three-letter ISO code; it sets the grams of CO2 per kWh.

    Raises
    ------
    OptionError
        codecarbon has no figures for the country.
    RuntimeMissing
        codecarbon is not installed, or measured nothing.
    """
    module = extras.codecarbon()
    country = known_country(country)
    # It speaks before it has read log_level, and its handler writes to stderr.
    logger = logging.getLogger("codecarbon")
    was, logger.disabled = logger.disabled, True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # save_to_file is deprecated, its successor is new
        tracker = module.OfflineEmissionsTracker(
            country_iso_code=country,
            save_to_file=False,
            log_level="critical",
            allow_multiple_runs=True,  # else it takes a lock file and the process's signal handlers
            measure_power_secs=1,
        )
    tracking = Tracking()
    try:
        tracker.start()
        yield tracking
    finally:
        tracker.stop()
        logger.disabled = was
    data = getattr(tracker, "final_emissions_data", None)
    if data is None:  # codecarbon swallows its own exceptions
        raise RuntimeMissing("codecarbon measured nothing here", "run without --energy")
    tracking.finish(
        Energy(
            data.energy_consumed * JOULES_PER_KWH,
            data.emissions * 1e3,
            data.duration,
            country,
            _source(tracker),
            _rated_watts(tracker),
        )
    )


def _source(tracker: Any) -> str:
    """How codecarbon came by the processor's power; it keeps that to itself."""
    modes = [getattr(part, "_mode", "") for part in getattr(tracker, "_hardware", ())]
    return next((_SOURCES[mode] for mode in modes if mode in _SOURCES), "unknown")


def _rated_watts(tracker: Any) -> float | None:
    """Of the processors, also kept by codecarbon to itself."""
    rated = [float(part._tdp) for part in getattr(tracker, "_hardware", ()) if getattr(part, "_tdp", None)]
    return sum(rated) or None


def grid_grams_per_kwh(country: str) -> float:
    """Grams of CO2 per kWh of a country's mix. Raises as :func:`known_country`."""
    mix = extras.codecarbon().input.DataSource().get_global_energy_mix_data()
    return float(mix[known_country(country)]["carbon_intensity"])


@dataclass(frozen=True)
class InferenceEnergy:
    """Per 1,000 samples, over ``rounds`` rounds of at least some seconds; ``samples`` were run altogether."""

    joules: Estimate
    co2_grams: Estimate
    milliseconds: Estimate
    samples: int
    rounds: int
    country: str
    source: str


def inference_energy(
    work: list[Callable[[], int]], country: str, *, seconds: float = 5.0, rounds: int = 3
) -> list[InferenceEnergy]:
    """Energy of each callable, which runs a model over the data once and returns the number of samples.

    The models take turns, ``rounds`` times, so that drift and neighbours hit all of them;
    each turn repeats the work for at least ``seconds``, because codecarbon looks at the load about once a second.
    """
    found: list[list[tuple[float, float, float]]] = [[] for _ in work]
    counts, last = [0] * len(work), None
    for run in work:
        run()  # the first run of a session allocates
    for _ in range(rounds):
        for which, run in enumerate(work):
            done = 0
            with tracked(country) as tracking:
                started = time.perf_counter()
                while not done or time.perf_counter() - started < seconds:
                    done += run()
                elapsed = time.perf_counter() - started
            last = tracking.energy
            found[which].append((last.joules * 1e3 / done, last.co2_grams * 1e3 / done, elapsed * 1e6 / done))
            counts[which] += done
    assert last is not None
    results = []
    for rows, count in zip(found, counts, strict=True):
        joules, co2, milliseconds = (mean(column) for column in np.array(rows).T)
        results.append(InferenceEnergy(joules, co2, milliseconds, count, rounds, last.country, last.source))
    return results
