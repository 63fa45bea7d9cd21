"""Notes for the user with how grave each is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

Grade = Literal["alarm", "caution", "fact"]
"""What may make the result wrong or useless; what makes figures mean less than they seem to; and the rest."""

GRADES: tuple[Grade, ...] = get_args(Grade)
"""The gravest first."""


class Graded(str):
    """A sentence that knows its ``grade``; to whoever does not ask, text like any other."""

    grade: Grade

    def __new__(cls, text: str, grade: Grade = "fact") -> Graded:
        sentence = super().__new__(cls, text)
        sentence.grade = grade
        return sentence


def grade_of(text: str, otherwise: Grade = "fact") -> Grade:
    """The grade of a sentence, ``otherwise`` for one without."""
    return text.grade if isinstance(text, Graded) else otherwise


def by_gravity(texts: Iterable[str], otherwise: Grade = "fact") -> list[Graded]:
    """The gravest first, else in the order in which they came; those without a grade get that of ``otherwise``."""
    graded = [Graded(text, grade_of(text, otherwise)) for text in texts]
    return sorted(graded, key=lambda text: GRADES.index(text.grade))
