"""Operators of other runtimes: named before any work is done; sequences and maps come as arrays."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from graphprune.errors import ModelError
from graphprune.ir.loading import load
from graphprune.runtime.plugins import plugins, require_operators
from graphprune.runtime.sessions import RuntimeOptions, open_model, run
from tests.axes.cases import parse

ONE = RuntimeOptions(threads=1)
TEXT = "(float[N, 4] x) => (float[N, 4] y) {{ [up] a = MatMul(x, w) [odd] y = {op}(a) }}"
W = {"w": (4, 4)}


@pytest.mark.parametrize(
    ("op", "domains"), [("TRT.EfficientNMS_TRT", {"TRT": 1}), ("my.domain.Blur", {"my.domain": 2}), ("Blur", {})]
)
def test_plugins_are_named(op: str, domains: dict[str, int]) -> None:
    model = load(parse(TEXT.format(op=op), W, 17, domains))
    assert [node.name for node in plugins(model)] == ["odd"]
    name = "::".join(op.rsplit(".", 1))
    with pytest.raises(ModelError, match=f"does not have the operator {name} .node odd.") as caught:
        require_operators(model, ONE)
    assert "extract_model" in caught.value.fix


@pytest.mark.parametrize(("op", "domains"), [("Relu", {}), ("com.microsoft.QuickGelu", {"com.microsoft": 1})])
def test_what_the_runtime_has_is_no_plugin(op: str, domains: dict[str, int]) -> None:
    model = load(parse(TEXT.format(op=op), W, 17, domains))
    assert plugins(model) == []
    require_operators(model, ONE)


def sequence(kind: onnx.TypeProto) -> onnx.ValueInfoProto:
    return onnx.ValueInfoProto(name="s", type=helper.make_sequence_type_proto(kind))


TENSOR = helper.make_tensor_type_proto(TensorProto.FLOAT, None)


@pytest.mark.parametrize(
    ("node", "kind", "expected"),
    [
        (helper.make_node("SequenceConstruct", ["x", "x"], ["s"]), TENSOR, (3, 2, 2)),
        (helper.make_node("SequenceConstruct", ["x", "wide"], ["s"]), TENSOR, (3, 6)),
        (helper.make_node("SequenceConstruct", ["x", "row"], ["s"]), TENSOR, (8,)),
        (helper.make_node("ZipMap", ["x"], ["s"], domain="ai.onnx.ml", classlabels_int64s=[7, 9]),
         helper.make_map_type_proto(TensorProto.INT64, TENSOR), (3, 2)),
    ],
    ids=["alike", "of-one-batch", "of-any-shape", "maps"],
)  # fmt: skip  # a table, a row a line
def test_sequences_and_maps_come_as_arrays(
    node: onnx.NodeProto, kind: onnx.TypeProto, expected: tuple[int, ...]
) -> None:
    text = (
        "(float[N, 2] x) => (float[N, 4] wide, float[1, 2] row) { wide = Concat<axis = -1>(x, x) row = Slice(x, o, i) }"
    )
    proto = parse(text, {"o": np.array([0]), "i": np.array([1])}, 17, {"ai.onnx.ml": 3})
    proto.graph.node.append(node)
    proto.graph.output.append(sequence(kind))
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    found = run(open_model(load(proto), ONE), {"x": x})[-1]
    assert found.shape == expected
    np.testing.assert_array_equal(np.sort(np.unique(found)), np.unique(x))
