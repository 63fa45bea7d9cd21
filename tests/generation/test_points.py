"""Points of a generation, as they are written and as a model's context allows."""

from __future__ import annotations

import pytest

from graphprune.errors import OptionError
from graphprune.generation.points import DEFAULT_POINTS, GenerationPoint, fitting, parse_points


def test_points_are_read_in_order_and_once() -> None:
    assert parse_points("32:64, 8:2,32:64") == (GenerationPoint(32, 64), GenerationPoint(8, 2))


@pytest.mark.parametrize("text", ["", "16", "16:1", "0:8", "16:8,", "16x8", "model.onnx"])
def test_other_words_are_no_points(text: str) -> None:
    with pytest.raises(OptionError, match="no points of a generation"):
        parse_points(text)


@pytest.mark.parametrize(
    ("context", "fitted"),
    [
        (None, DEFAULT_POINTS),
        (8192, DEFAULT_POINTS),
        (512, (GenerationPoint(16, 256), GenerationPoint(384, 128))),
        (64, (GenerationPoint(16, 32), GenerationPoint(32, 32))),
    ],
)
def test_a_short_context_shortens_them(context: int | None, fitted: tuple[GenerationPoint, ...]) -> None:
    assert fitting(DEFAULT_POINTS, context) == fitted
    assert all(context is None or point.total <= context for point in fitted)
