"""Notes are told apart by what they are about; what is said twice is said once."""

from __future__ import annotations

import pickle

import pytest

from graphprune.analysis.cost import Cost
from graphprune.base.graded import Graded, by_gravity
from graphprune.data.dataset import load_data
from graphprune.data.made_up import synthetic
from graphprune.evaluation.accuracy import Evaluation
from graphprune.ir.loading import load
from graphprune.plan.max_drop import Drop
from graphprune.run.notes import (
    CHECKS_ONLY,
    NO_DATA,
    Note,
    NoteKind,
    data_notes,
    growth_notes,
    loss_notes,
    notes_of,
    texts_of,
)
from tests.graphs import random_feeds, residual_mlp


@pytest.mark.parametrize(("needs", "note"), [(True, NO_DATA), (False, CHECKS_ONLY)])
def test_made_up_inputs_are_told(needs: bool, note: Note) -> None:
    model = load(residual_mlp(1))
    assert data_notes(synthetic(model, 0, 4, {}, {}), scores_need_data=needs) == (note,)
    samples = load_data(random_feeds(residual_mlp(1), 4), model, None)
    assert data_notes(samples, scores_need_data=needs) == ()


def test_a_sentence_is_said_once() -> None:
    notes = (*notes_of(NoteKind.SCORES, ["one", "two"]), *notes_of(NoteKind.WORKERS, ["one"]))
    assert len(set(notes)) == 3
    assert texts_of(notes) == ("one", "two")


def test_a_file_that_grows() -> None:
    assert growth_notes(Cost(9, 50), Cost(5, 50)) == ()
    (note,) = growth_notes(Cost(9, 1_050), Cost(5, 1_060))
    assert note.kind == NoteKind.GROWTH
    assert note.text.startswith("THE FILE GROWS from 1,050 to 1,060 parameters")


def test_a_note_has_a_grade_and_keeps_it() -> None:
    """By its kind, or by whoever wrote it; it outlives a trip to another process and is text to all others."""
    assert (NO_DATA.grade, notes_of(NoteKind.SCORES, ["a"])[0].grade) == ("caution", "fact")
    (note,) = notes_of(NoteKind.SCORES, [Graded("few labels", "caution")])
    (text,) = texts_of([note])
    assert text == "few labels" and pickle.loads(pickle.dumps(text)).grade == "caution"  # noqa: S301
    assert by_gravity(["b", Graded("c", "alarm"), text]) == ["c", "few labels", "b"]


@pytest.mark.parametrize(
    ("value", "low", "samples", "grades"),
    [
        (0.15, 0.12, 2_000, ["alarm"]),
        (0.15, -0.01, 30, ["caution"]),
        (0.05, 0.04, 2_000, []),
    ],
)
def test_a_big_loss_is_an_alarm(value: float, low: float, samples: int, grades: list[str]) -> None:
    """Where it is certain; and few samples are told."""
    drop = Drop("top1", value, low, value + 0.03, samples)
    notes = loss_notes(Evaluation("top1", 0.9, 0.9 - value, samples, drop=drop))
    assert [note.grade for note in notes] == grades
    assert all(str(drop) in note.text for note in notes if note.grade == "alarm")
