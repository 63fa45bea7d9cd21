"""On random networks, cut by random plans, every oracle holds. ``tools/checks/fuzz.py`` does the same for hours."""

from __future__ import annotations

import hypothesis.strategies as st
import onnx
import pytest
from hypothesis import HealthCheck, given, settings

from tests.property.networks import check_random, random_network, seeded

_LIMITS = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


@pytest.mark.slow
@given(st.data())
@_LIMITS
def test_random_rewrites(data: st.DataObject) -> None:
    def choose(count: int) -> int:
        return data.draw(st.integers(0, count - 1)) if count > 1 else 0

    check_random(random_network(choose), choose)


def test_generator_makes_valid_models() -> None:
    for seed in range(100):
        onnx.checker.check_model(random_network(seeded(seed)), full_check=True)


def test_a_seed_names_one_example() -> None:
    assert random_network(seeded(5)) == random_network(seeded(5))
    assert random_network(seeded(5)) != random_network(seeded(6))


def test_generator_reaches_the_operators_that_matter() -> None:
    """A generator that never draws a part would check nothing of it."""
    wanted = [
        "Attention",
        "BatchNormalization",
        "Concat",
        "Conv",
        "ConvTranspose",
        "DepthToSpace",
        "DequantizeLinear",
        "Einsum",
        "Expand",
        "Flatten",
        "GRU",
        "Gather",
        "Gemm",
        "GlobalAveragePool",
        "GroupNormalization",
        "InstanceNormalization",
        "LSTM",
        "If",
        "LayerNormalization",
        "Loop",
        "MatMul",
        "MaxPool",
        "Mean",
        "MeanVarianceNormalization",
        "Pad",
        "RNN",
        "ReduceMean",
        "ReduceSum",
        "Reshape",
        "Resize",
        "Scan",
        "Shape",
        "Slice",
        "Softmax",
        "Split",
        "Squeeze",
        "Sum",
        "Tile",
        "Transpose",
        "Unsqueeze",
    ]
    models = [random_network(seeded(seed)) for seed in range(400)]
    drawn = {node.op_type for model in models for node in model.graph.node}
    assert [op for op in wanted if op not in drawn] == []
    assert {13, 18, 23} <= {model.opset_import[0].version for model in models}
