"""The energy of a training, or of several: codecarbon's measurement, and the ML Impact Calculator's formula beside it.

Lacoste et al., "Quantifying the Carbon Emissions of Machine Learning" (2019): power of the hardware x time x the CO2 of
the grid. The papers on tickets and on joint pruning give their savings by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from msgspec import structs

from graphprune.errors import OptionError
from graphprune.evaluation.energy import DEFAULT_COUNTRY, JOULES_PER_KWH, Energy, grid_grams_per_kwh, tracked
from graphprune.report.growth import Growth
from graphprune.training.report import TrainingEnergy, TrainingReport

_Report = TypeVar("_Report", TrainingReport, Growth)


@dataclass(frozen=True)
class Meter:
    """``country`` is a three-letter ISO code; ``watts`` is the rated power of the hardware (None: codecarbon's)."""

    country: str = DEFAULT_COUNTRY
    watts: float | None = None
    price_per_kwh: float | None = None


class AddEnergy(Protocol):
    """Adds to a report what was measured."""

    def __call__(self, report: _Report, /) -> _Report: ...


@contextmanager
def metered(meter: Meter | None) -> Iterator[AddEnergy]:
    """Measure what runs inside the block; called after it, what is yielded adds the energy to a report.

    Raises
    ------
    OptionError
        The country is not known, or nothing tells the rated power.
    RuntimeMissing
        codecarbon is not installed, or measured nothing.
    """
    if meter is None:
        yield _as_it_is
        return
    known, grams = meter, grid_grams_per_kwh(meter.country)
    with tracked(meter.country) as tracking:

        def add(report: _Report, /) -> _Report:
            return structs.replace(report, energy=training_energy(tracking.energy, known, grams))

        yield add


def _as_it_is(report: _Report, /) -> _Report:
    return report


def training_energy(measured: Energy, meter: Meter, grid_grams_per_kwh: float) -> TrainingEnergy:
    """Measured and by the formula."""
    watts = meter.watts or measured.rated_watts
    if watts is None:
        raise OptionError("nothing tells the rated power of this machine", "give --watts, the power of its hardware")
    joules = watts * measured.seconds
    price = meter.price_per_kwh
    return TrainingEnergy(
        seconds=measured.seconds,
        joules=measured.joules,
        co2_grams=measured.co2_grams,
        source=measured.source,
        country=measured.country,
        grid_grams_per_kwh=grid_grams_per_kwh,
        watts=watts,
        formula_joules=joules,
        formula_co2_grams=joules / JOULES_PER_KWH * grid_grams_per_kwh,
        price_per_kwh=price,
        cost=None if price is None else measured.joules / JOULES_PER_KWH * price,
        formula_cost=None if price is None else joules / JOULES_PER_KWH * price,
    )
