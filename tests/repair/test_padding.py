"""Which places of a batch are tokens, and that nothing is fitted to the others."""

from __future__ import annotations

import numpy as np
import pytest

from graphprune.ir.loading import load
from graphprune.repair.padding import counted, mask_input
from graphprune.repair.stage import Method
from tests.graphs import Arrays, build, initialisers
from tests.repair.story import story
from tests.token_graphs import Shape, tokens, transformer

MASK = np.array([[1, 1, 0, 0], [1, 1, 1, 0]])


@pytest.mark.parametrize(
    ("mask", "shape", "wanted"),
    [
        (MASK, (2, 4, 8), MASK == 1),
        (MASK.astype(np.float32), (8, 5), (MASK == 1).reshape(-1)),
        (np.concatenate([np.ones((2, 3), int), MASK], axis=1), (2, 4, 8), MASK == 1),  # with a past of three
        (MASK, (2, 5, 8), None),
        (MASK, (4, 2, 8), None),
        (MASK, (2, 4, 4, 8), None),
        (-1e4 * MASK, (2, 4, 8), None),
        (MASK[:, None], (2, 4, 8), None),
    ],
)
def test_places_that_count(mask: np.ndarray, shape: tuple[int, ...], wanted: np.ndarray | None) -> None:
    found = counted(mask, shape)
    assert (found is None) == (wanted is None)
    if found is not None:
        np.testing.assert_array_equal(found, wanted)


def test_the_input_that_tells() -> None:
    assert mask_input(load(transformer(Shape(mask=True)))) == "attention_mask"
    assert mask_input(load(transformer(Shape()))) == ""
    other = build("(float[N,3] x, int64[N] attention_mask) => (float[N,3] y) { [r] y = Relu(x) }")
    assert mask_input(load(other)) == ""


@pytest.mark.parametrize("method", ["ridge", "walk"])
@pytest.mark.parametrize("shape", [Shape(layers=2, mask=True), Shape(layers=2, mask=True, is_flat=True)])
def test_padding_changes_nothing(method: Method, shape: Shape) -> None:
    """Noise where prompts have ended gives the weights that other noise there gives."""
    fits = []
    for scale in (0.1, -0.2):
        feeds: Arrays = tokens(shape, samples=240, length=6)
        feeds["x"][feeds["attention_mask"] == 0] *= scale
        fixed, layers, _ = story(transformer(shape), feeds).cut("l0_up", [0, 3, 7]).repaired(method)
        assert layers["l0_down"].is_kept
        fits.append(initialisers(fixed))
    for name in fits[0].keys() - {"w_head"}:  # which reads the mean of all places
        np.testing.assert_allclose(fits[0][name], fits[1][name], atol=1e-3)
