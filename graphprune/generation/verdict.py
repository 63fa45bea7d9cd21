"""Never slower, in both phases: neither the first token nor those after it may take longer than the original's."""

from __future__ import annotations

from collections.abc import Iterator

from graphprune.errors import NotFaster
from graphprune.generation.measure import GenerationMeasurement
from graphprune.measure.timing import Comparison


def phases(measured: GenerationMeasurement) -> Iterator[tuple[str, Comparison]]:
    """Each phase of each point in words, with its times."""
    for point in measured.points:
        yield f"at the first token of a prompt of {point.prompt}", point.first_token
        yield f"per token after a prompt of {point.prompt}", point.per_token


def is_slower(measured: GenerationMeasurement) -> bool:
    """Whether a phase is, its whole interval."""
    return any(times.ratio_low > 1 for _, times in phases(measured))


def is_faster(measured: GenerationMeasurement) -> bool:
    """Whether a phase is faster, its whole interval, and none slower."""
    return not is_slower(measured) and any(times.ratio_high < 1 for _, times in phases(measured))


def refuse_slower_phases(measured: GenerationMeasurement, reasons: list[str], advice: list[str]) -> None:
    """Accept what is faster in one phase and slower in none; ``reasons`` and ``advice`` are what is known of the cut.

    Raises
    ------
    NotFaster
        It is not; the message names the phase.
    """
    if is_faster(measured):
        return
    slower = [(name, times) for name, times in phases(measured) if times.ratio_low > 1]
    shown = slower or list(phases(measured))
    figures = "; ".join(
        f"{name} {times.ratio:.2f} times its time [{times.ratio_low:.3f}, {times.ratio_high:.3f}]"
        for name, times in shown
    )
    where = measured.environment
    why = f" ({'; '.join(reasons)})" if reasons else ""
    raise NotFaster(
        f"the result is {'slower' if slower else 'no faster'} than the original on {where['runtime']}, "
        f"{where['provider']}, batch {measured.batch}: {figures}{why}; nothing was written",
        f"{', '.join(advice)}; or --allow-slower" if advice else "--allow-slower writes it all the same",
    )
