"""Notes are told apart by what they are about; what is said twice is said once."""

from __future__ import annotations

import pytest

from graphprune.analysis.cost import Cost
from graphprune.data.dataset import load_data
from graphprune.data.made_up import synthetic
from graphprune.ir.loading import load
from graphprune.run.notes import CHECKS_ONLY, NO_DATA, Note, NoteKind, data_notes, growth_notes, notes_of, texts_of
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
