"""What ONNX Runtime runs is loaded and written back, also where the ONNX checker has doubts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from graphprune.errors import ModelError
from graphprune.ir.export import exported_bytes, to_proto, write
from graphprune.ir.loading import load
from tests.graphs import assert_same, build, random_feeds, run

WEIGHTS = {"w": (8, 3, 1, 1), "v": (4, 8, 1, 1)}


def normalised(body: str, opset: int = 17, **weights: tuple[int, ...]) -> onnx.ModelProto:
    return build(
        f"(float[N,3,4,4] x) => (float[N,4,4,4] y) {{ a = Conv(x, w) {body} r = Relu(h) y = Conv(r, v) }}",
        {**WEIGHTS, **weights},
        opset=opset,
    )


@pytest.mark.parametrize(
    "proto",
    [
        normalised("h = SimplifiedLayerNormalization<axis = -1>(a, s)", s=(4,)),
        normalised("h = GroupNormalization<num_groups = 4>(a, s, b)", 18, s=(4,), b=(4,)),
    ],
    ids=["of-the-runtime-alone", "taken-back"],
)
def test_operators_that_the_checker_refuses(proto: onnx.ModelProto, tmp_path: Path) -> None:
    """From a file and from memory; shapes and types are known behind the operator."""
    given, written = tmp_path / "given.onnx", tmp_path / "written.onnx"
    onnx.save(proto, given)
    with pytest.raises(onnx.checker.ValidationError):
        onnx.checker.check_model(proto)
    for model in (load(given), load(proto)):
        assert model.shapes["r"] == ("N", 8, 4, 4)
        assert model.dtypes["r"] == TensorProto.FLOAT
        write(model, written)
        feeds = random_feeds(proto)
        assert_same(run(onnx.load(written), feeds), run(proto, feeds))


def test_beside_such_an_operator_the_rest_is_checked() -> None:
    proto = normalised("h = SimplifiedLayerNormalization<axis = -1>(nowhere, s)", s=(4,))
    with pytest.raises(ModelError, match=r"not valid ONNX.*nowhere"):
        load(proto)


def test_an_operator_of_a_newer_opset_is_refused() -> None:
    """The runtime does not have it either."""
    with pytest.raises(ModelError, match="No Op registered for Swish"):
        load(normalised("h = Swish(a)"))


def test_outputs_without_a_shape(tmp_path: Path) -> None:
    proto = normalised("h = Relu(a)")
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    written = tmp_path / "written.onnx"
    write(load(proto), written)
    assert onnx.load(written).graph.output[0] == proto.graph.output[0]


@pytest.mark.parametrize("count", [4, 500])
def test_strings(count: int, tmp_path: Path) -> None:
    """Few of them and many, which are as long as what is otherwise left out when only the graph is looked at."""
    proto = build(
        "(float[N,3,4,4] x) => (float[N,4] y, string[N] label) { g = GlobalAveragePool(x) f = Flatten(g) "
        "y = MatMul(f, m) k = ArgMax<axis = 1, keepdims = 0>(y) label = Gather(names, k) }",
        {"m": (3, 4)},
    )
    names = [f"v\u00f6gel {index}".encode() if index else b"" for index in range(count)]
    tensor = TensorProto(name="names", data_type=TensorProto.STRING, dims=[count], string_data=names)
    proto.graph.initializer.append(tensor)
    written = tmp_path / "written.onnx"
    model = load(proto)
    assert list(to_proto(model, with_weights=False).graph.initializer)[-1].string_data == names
    assert exported_bytes(model) == to_proto(model).ByteSize()
    write(model, written)
    feeds = random_feeds(proto)
    assert [value.tolist() for value in run(onnx.load(written), feeds)] == [v.tolist() for v in run(proto, feeds)]


def test_minus_one_is_a_free_size() -> None:
    proto = normalised("h = Relu(a)")
    for value in (proto.graph.input[0], proto.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = -1
    model = load(proto)
    assert model.shapes["x"] == (None, 3, 4, 4)
    assert list(to_proto(model).graph.input) == list(proto.graph.input)
    assert to_proto(model).graph.output[0] == proto.graph.output[0]
    assert np.isfinite(run(to_proto(model), {"x": np.ones((2, 3, 4, 4), np.float32)})[0]).all()
