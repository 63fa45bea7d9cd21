"""What the user must know of a run, as values: told apart by what they are about, put into words once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from graphprune.analysis.cost import Cost
from graphprune.data.dataset import Data


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


@dataclass(frozen=True)
class Note:
    """One sentence for the user's eyes."""

    kind: NoteKind
    text: str


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


def notes_of(kind: NoteKind, texts: Iterable[str]) -> tuple[Note, ...]:
    """What one part of the run has to say, as notes."""
    return tuple(Note(kind, text) for text in texts)


def texts_of(notes: Iterable[Note]) -> tuple[str, ...]:
    """The sentences, each once."""
    return tuple(dict.fromkeys(note.text for note in notes))
