"""A clock for whole networks: candidates against the network as given, interleaved, in the target's unit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Protocol

import onnx

from graphprune.base.graded import Graded
from graphprune.errors import NothingToPrune
from graphprune.ir.export import to_proto
from graphprune.ir.model import Model
from graphprune.latency.closing import TOLERANCE
from graphprune.measure.ort import measure
from graphprune.measure.runtime import Measurement
from graphprune.plan.plan import Plan
from graphprune.plan.target import GENERATION, Target
from graphprune.run.notes import Note, NoteKind
from graphprune.runtime.sessions import Feeds, RuntimeOptions


class NetworkClock(Protocol):
    """Times a network; the value is in the unit of the target (a share of the given network's time,
    or milliseconds).
    """

    asked: float
    dense: float

    def time(self, model: Model) -> float:
        """The time of ``model``."""
        ...


class EndToEndTimer:
    """The clock on the wall: ONNX Runtime with the options, inputs and batch that the result is measured with."""

    def __init__(
        self,
        target: Target,
        original: Path | onnx.ModelProto,
        folder: Path | None,
        feeds: Feeds,
        options: RuntimeOptions,
        seconds: float,
    ) -> None:
        self._target, self._original, self._folder = target, original, folder
        self._feeds, self._options, self._seconds = feeds, options, seconds
        self.asked = target.value
        self.dense = 1.0
        if target.unit == "ms":
            self.dense = self._against(original).comparison.first.median_ms
            if self.dense <= target.value:
                raise NothingToPrune(
                    f"the model takes {self.dense:.3g} ms already, the target is {target.value:g} ms", "ask for less"
                )

    def time(self, model: Model) -> float:
        return value_of(self._target, self._against(to_proto(model)))

    def _against(self, other: Path | onnx.ModelProto) -> Measurement:
        return measure(
            self._original, other, self._feeds, self._options, folder=self._folder, min_seconds=self._seconds
        )


def value_of(target: Target, measurement: Measurement) -> float:
    """What a measurement says about a latency target: the ratio of times, or the milliseconds."""
    times = measurement.comparison
    return times.second.median_ms if target.unit == "ms" else times.ratio


def settled(target: Target, plan: Plan, time: float) -> tuple[Plan, tuple[Note, ...]]:
    """The plan with the last word on its ``target``, the written file's ``time`` (a share, or milliseconds); and a note
    where that is off.
    """
    reached = target.turned(time)
    off, off_time = reached / target.value - 1, time / target.turned(target.value) - 1
    notes: tuple[Note, ...] = ()
    chosen = target.turned(plan.reached) / target.turned(target.value) - 1
    was_said = off_time > 0 and chosen > TOLERANCE  # it was too slow when it was chosen
    if abs(off_time) > TOLERANCE and not was_said:
        figures = f"{reached:.3g}{target.unit}, {100 * abs(off):.1f} % {'above' if off > 0 else 'below'} {target}"
        chosen_figure = f"{plan.reached:.3g}{target.unit}"
        text = f"the written file takes {figures}; when it was chosen it took {chosen_figure}"
        if target.kind in GENERATION:
            text = f"the written file reaches {figures}; when it was chosen it reached {chosen_figure}"
        notes = (Note(NoteKind.WRITTEN_TIME, Graded(text, "alarm" if off_time > 0 else "fact")),)
    return replace(plan, reached=reached), notes
