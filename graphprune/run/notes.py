"""What the user must know of a run, as values: told apart by what they are about, put into words once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from graphprune.analysis.cost import Cost
from graphprune.base.graded import Grade, Graded, grade_of
from graphprune.data.dataset import Data
from graphprune.evaluation.accuracy import Evaluation
from graphprune.measure.runtime import Measurement


class NoteKind(Enum):
    """What a note is about."""

    GROWTH = auto()
    NO_DATA = auto()
    SIZES = auto()
    CONVERTED = auto()
    CHECKS_ONLY = auto()
    DEFAULT_TARGET = auto()
    CACHED_TIMES = auto()
    SCORES = auto()
    WORKERS = auto()
    WRITTEN_TIME = auto()
    FOLDER = auto()
    BUDGET = auto()
    AUTO = auto()
    QUANTISED = auto()
    LOSS = auto()
    SLOWER = auto()


_GRADES: dict[NoteKind, Grade] = {
    NoteKind.GROWTH: "alarm",
    NoteKind.LOSS: "alarm",
    NoteKind.QUANTISED: "alarm",
    NoteKind.SLOWER: "alarm",
    NoteKind.BUDGET: "caution",
    NoteKind.CHECKS_ONLY: "caution",
    NoteKind.FOLDER: "caution",
    NoteKind.NO_DATA: "caution",
}
"""Notes of other kinds are facts, unless their text says otherwise."""

_BIG_LOSS = {"top1": 0.1, "agreement": 0.2, "error": 0.5, "perplexity": 1.0}
"""From so much on a loss is told by itself; as shares, like :class:`graphprune.plan.max_drop.Drop`."""
_FEW_SAMPLES = 100


@dataclass(frozen=True)
class Note:
    """One sentence for the user's eyes."""

    kind: NoteKind
    text: str

    @property
    def grade(self) -> Grade:
        """That of the text where whoever wrote it gave it one, else what its kind has."""
        return grade_of(self.text, _GRADES.get(self.kind, "fact"))


NO_DATA = Note(
    NoteKind.NO_DATA, "NO CALIBRATION DATA: scores and checks come from synthetic inputs and mean little; add --data"
)
CHECKS_ONLY = Note(NoteKind.CHECKS_ONLY, "no calibration data: the scores need none, the checks ran on made-up inputs")


def data_notes(data: Data, *, scores_need_data: bool) -> tuple[Note, ...]:
    """The warning where inputs are made up: a strong one, unless the scores do not come from them.

    And what was converted of samples that are there.
    """
    if data.kind != "synthetic":
        return notes_of(NoteKind.CONVERTED, data.conversions.values())
    return (NO_DATA if scores_need_data else CHECKS_ONLY,)


def growth_notes(before: Cost, after: Cost) -> tuple[Note, ...]:
    """A warning where the cut file holds more than the one given."""
    if after.params <= before.params:
        return ()
    text = (
        f"THE FILE GROWS from {before.params:,} to {after.params:,} parameters: what several layers share is cut "
        "differently for each, and each gets a copy; exclude their groups, or aim at params="
    )
    return (Note(NoteKind.GROWTH, text),)


def loss_notes(evaluation: Evaluation) -> tuple[Note, ...]:
    """A warning where much is lost for certain, and one where shares of few samples say little."""
    drop, kind = evaluation.drop, evaluation.kind
    notes: list[Note] = []
    value = evaluation.after if kind == "error" else drop.value if drop else 0.0
    is_certain = drop is None or drop.low is None or drop.low > 0
    if is_certain and value > _BIG_LOSS.get(kind, float("inf")):
        said = {
            "top1": f"top-1 falls by {drop}",
            "agreement": f"{drop} of the decisions change",
            "error": f"the outputs are {100 * value:.0f} % off",
            "perplexity": f"the perplexity grows by {drop}",
        }[kind]
        text = f"A BIG LOSS: {said} on {evaluation.samples:,} samples; aim lower, or heal or train what is left"
        notes.append(Note(NoteKind.LOSS, text))
    if kind in ("top1", "agreement") and evaluation.samples < _FEW_SAMPLES:
        text = f"judged on {evaluation.samples} samples only: a difference of less than some points is chance"
        notes.append(Note(NoteKind.LOSS, Graded(text, "caution")))
    return tuple(notes)


def time_notes(measurement: Measurement) -> tuple[Note, ...]:
    """A warning where the result is measured slower."""
    times = measurement.comparison
    if not times.is_different or times.ratio <= 1:
        return ()
    interval = f"[{times.ratio_low:.2f}, {times.ratio_high:.2f}]"
    return (Note(NoteKind.SLOWER, f"THE RESULT IS SLOWER: {times.ratio:.2f} times the time {interval}"),)


def notes_of(kind: NoteKind, texts: Iterable[str]) -> tuple[Note, ...]:
    """What one part of the run has to say, as notes."""
    return tuple(Note(kind, text) for text in texts)


def texts_of(notes: Iterable[Note]) -> tuple[Graded, ...]:
    """The sentences with their grades, each once."""
    return tuple(dict.fromkeys(Graded(note.text, note.grade) for note in notes))
