"""What became of a pruned network in int8, and its rows beside the other two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphprune.evaluation.accuracy import Evaluation
from graphprune.measure.runtime import Measurement
from graphprune.report.quality import figure
from graphprune.report.text import size

if TYPE_CHECKING:
    from graphprune.report.result import Result


@dataclass(frozen=True)
class Quantised:
    """``output`` is the int8 file (None: none was written), ``bytes`` its size; ``is_per_channel`` tells whether
    weights have a scale for each channel. ``relative_error`` is the largest of an output against the pruned float
    network on the ``samples`` that calibrated. ``evaluation`` is against the original. ``to_original`` and
    ``to_pruned`` are timings in turn with these.
    """

    output: str | None
    bytes: int
    is_per_channel: bool
    relative_error: float
    samples: int
    evaluation: Evaluation | None = None
    to_original: Measurement | None = None
    to_pruned: Measurement | None = None


def rows(result: Result) -> list[tuple[str, str, str, str]]:
    """Original, pruned and int8: the name, the file's size, the median time as a share of the original's, how good."""
    found = result.quantised
    assert found is not None  # the caller looks
    pruned, int8 = result.measurement, found.to_original
    times = [
        "100 %" if pruned else "",
        f"{100 * pruned.comparison.ratio:.0f} %" if pruned else "",
        f"{100 * int8.comparison.ratio:.0f} %" if int8 else "",
    ]
    float_ = result.evaluation
    good = [
        figure(float_, float_.before) if float_ else "",
        figure(float_, float_.after) if float_ else "",
        figure(found.evaluation, found.evaluation.after) if found.evaluation else "",
    ]
    sizes = [size(result.before.bytes), size(result.after.bytes), size(found.bytes)]
    return list(zip(("original", "pruned", "pruned, int8"), sizes, times, good, strict=True))


def sentence(found: Quantised) -> str:
    """How it was made, and how far it is from the float network."""
    scales = "a scale for each channel" if found.is_per_channel else "one scale for each weight"
    error = f"{100 * found.relative_error:.2g} % from the pruned float network"
    more = ""
    if found.to_pruned is not None:
        times = found.to_pruned.comparison
        interval = f"[{1 / times.ratio_high:.2f}, {1 / times.ratio_low:.2f}]"
        more = f", {times.speed_up:.2f} times as fast as that {interval}"
    return f"int8, {scales}, calibrated on {found.samples:,} samples: {error}{more}"
