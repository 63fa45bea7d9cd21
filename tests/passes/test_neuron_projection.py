"""``neuron-projection``: the mean absolute input of the layer that reads the neurons, by a loop over prompts."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphprune.errors import NothingToPrune
from tests.graphs import build
from tests.passes.asking import Arrays, counts, decided, inner, pruned, removed, scores
from tests.small_cnns import grouped
from tests.token_graphs import Shape, tokens, transformer

HALF = "neuron-projection{ratio=0.5,scope=group}"


def by_loop(proto: onnx.ModelProto, feeds: Arrays, layer: int = 0) -> np.ndarray:
    (hidden,) = inner(proto, feeds, f"hidden{layer}")
    hidden = hidden.reshape(len(feeds["x"]), -1, hidden.shape[-1])
    mask = feeds.get("attention_mask", np.ones(hidden.shape[:2])).astype(bool)
    return np.asarray(np.mean([np.abs(prompt[own]).mean(0) for prompt, own in zip(hidden, mask, strict=True)], axis=0))


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("is_flat", [True, False])
def test_scores_are_those_of_the_loop(gated: bool, mask: bool, is_flat: bool) -> None:
    """Flat: the tokens of all prompts in one row, as exporters write a dense layer; the mask still tells them apart."""
    shape = Shape(layers=2, gated=gated, mask=mask, is_flat=is_flat)
    proto, feeds = transformer(shape), tokens(shape)
    result = pruned(proto, "neuron-projection{ratio=0.5}", feeds)
    assert counts(result) == {"l0_up/neurons": 5, "l1_up/neurons": 5}
    for layer in range(2):
        expected = by_loop(proto, feeds, layer)
        name = f"l{layer}_up/neurons"
        np.testing.assert_allclose(scores(result)[name], expected, rtol=1e-5)
        assert removed(result)[name] == sorted(np.argsort(expected)[:5])


def test_layers_are_compared_by_shares_of_their_means() -> None:
    shape = Shape(layers=2)
    result = decided(transformer(shape), "neuron-projection{ratio=0.2,scope=global}", tokens(shape))
    for name, values in scores(result).items():
        expected = by_loop(transformer(shape), tokens(shape), int(name[1]))
        np.testing.assert_allclose(values, expected / expected.mean(), rtol=1e-5)


def test_two_readers_add_up() -> None:
    """Neurons that two layers read, once through an activation, count at both."""
    proto = build(
        """(float[N,4] x) => (float[N,2] y) { [up] a = MatMul(x, w1) [relu] b = Relu(a)
        [one] c = MatMul(a, w2) [two] d = MatMul(b, w3) [join] y = Add(c, d) }""",
        {"w1": (4, 6), "w2": (6, 2), "w3": (6, 2)},
    )
    x = np.random.default_rng(2).standard_normal((9, 4)).astype(np.float32)
    a, b = inner(proto, {"x": x}, "a", "b")
    found = scores(pruned(proto, "neuron-projection{ratio=0.5}", {"x": x}))["up/neurons"]
    np.testing.assert_allclose(found, np.abs(a).mean(0) + np.abs(b).mean(0), rtol=1e-5)


def test_filters_are_no_neurons() -> None:
    with pytest.raises(NothingToPrune, match="no neurons to prune: of 1 groups, kept are 1 because it is an axis of a"):
        decided(grouped(), HALF, None)
