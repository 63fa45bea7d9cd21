"""What two versions of a network are compared by: the input of the last layer, however it was flattened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from graphprune.analysis.blocks import find_joins
from graphprune.analysis.representation import Representation, find_representations
from graphprune.errors import OptionError
from graphprune.ir.loading import load
from tests.graphs import build, residual_mlp

STEM = "c = Conv<pads = [1, 1, 1, 1]>(x, k) r = Relu(c)"


def network(tail: str, classes_in: int) -> onnx.ModelProto:
    weights = {"k": (4, 3, 3, 3), "w": (classes_in, 5)}
    return build(f"(float[N,3,6,6] x) => (float[N,5] y) {{ {STEM} {tail} }}", weights)


@pytest.mark.parametrize(
    ("tail", "classes_in", "expected"),
    [
        # The flattened maps are 144 features; pooled they are 4.
        ("f = Flatten(r) y = MatMul(f, w)", 144, Representation("r", "channels")),
        # One position: flattening loses nothing.
        ("p = GlobalAveragePool(r) f = Flatten(p) y = MatMul(f, w)", 4, Representation("f", "last")),
        # Channels last: axis 1 is a position.
        (
            "p = GlobalAveragePool(r) t = Transpose<perm = [0, 2, 3, 1]>(p) f = Flatten(t) y = MatMul(f, w)",
            4,
            Representation("f", "last"),
        ),
        ("t = Transpose<perm = [0, 2, 3, 1]>(r) f = Flatten(t) y = MatMul(f, w)", 144, Representation("f", "last")),
        ("p = GlobalAveragePool(r) f = Flatten(p) z = MatMul(f, w) y = Softmax(z)", 4, Representation("f", "last")),
    ],
)
def test_input_of_the_last_layer(tail: str, classes_in: int, expected: Representation) -> None:
    assert find_representations(load(network(tail, classes_in)), []) == [expected]


def test_last_layer_inside_a_block_leaves_the_output() -> None:
    """Without a head the last MatMul belongs to a removable block and could vanish."""
    proto = residual_mlp(2)
    model = load(proto)
    blocks = [join.block for join in find_joins(model) if join.block]
    assert find_representations(model, blocks) == [Representation("h2", "last")]
    del proto.graph.node[-1]
    proto.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("h2", onnx.TensorProto.FLOAT, ["N", 8]))
    headless = load(proto)
    blocks = [join.block for join in find_joins(headless) if join.block]
    assert find_representations(headless, blocks) == [Representation("h2", "last")]
    with pytest.raises(OptionError, match="tensor 'q1' lies inside the removable block"):
        find_representations(headless, blocks, ["q1"])
    with pytest.raises(OptionError, match="there is no computed tensor 'nowhere'"):
        find_representations(headless, blocks, ["nowhere"])


def test_features_are_one_row_a_sample_or_a_position() -> None:
    maps = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    np.testing.assert_allclose(Representation("t", "channels").features(maps), maps.mean((2, 3)))
    tokens = maps[:, 0]
    np.testing.assert_array_equal(Representation("t", "last").features(tokens), tokens.reshape(8, 5))
    np.testing.assert_array_equal(Representation("t", "channels").features(tokens[0]), tokens[0])


def test_real_networks_compare_64_features(shared_models: Path) -> None:
    """The papers' 64-dimensional features, in the authors' channels-last export too."""
    for name in ("authors_resnet56", "resnet56", "resnet56_bn"):
        model = load(shared_models / f"{name}.onnx")
        blocks = [join.block for join in find_joins(model) if join.block]
        (representation,) = find_representations(model, blocks)
        producer = next(n for n in model.graph.nodes if representation.tensor in [t.name for t in n.outputs])
        assert producer.op in ("Flatten", "Reshape")
