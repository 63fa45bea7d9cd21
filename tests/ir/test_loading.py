"""Loading and writing back changes nothing that anybody can see, and normalisation keeps the numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import TensorProto, helper

from graphprune.ir.export import to_proto, write
from graphprune.ir.loading import load
from graphprune.ir.model import Model
from tests.digests import digest
from tests.graphs import assert_same, build, initialisers, normal_form, ops, random_feeds, random_weight, run
from tests.graphs import unused_initialisers as unused


def round_trip(proto: onnx.ModelProto, folder: Path) -> tuple[onnx.ModelProto, Model]:
    given, written = folder / "given.onnx", folder / "written.onnx"
    onnx.save(proto, given)
    before = digest(given)
    model = load(given)
    write(model, written)
    assert digest(given) == before
    return onnx.load(written), model


def annotated() -> onnx.ModelProto:
    """Two inputs, two outputs, symbolic dims and a note in every place that can hold one."""
    proto = build(
        """(float[batch,3,size,size] image, int64[batch] label, float scale)
           => (float[batch,4,size,size] map, int64[batch] next) {
          [conv] c = Conv<pads = [1,1,1,1]>(image, w, b)
          [scale] map = Mul(c, scale)
          [inc] next = Add(label, one)
        }""",
        {"w": (4, 3, 3, 3), "b": (4,), "one": np.array(1, np.int64)},
        ir=10,
    )
    proto.producer_name, proto.producer_version, proto.domain, proto.model_version = "maker", "1.2", "org.test", 7
    proto.doc_string, proto.graph.doc_string, proto.graph.name = "about the model", "about the graph", "net"
    proto.metadata_props.add(key="classes", value="cat,dog")
    proto.graph.metadata_props.add(key="graph key", value="graph value")
    proto.graph.input[0].doc_string, proto.graph.output[1].doc_string = "an image", "the label after"
    proto.graph.node[0].doc_string = "a convolution"
    proto.graph.node[0].metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['conv']")
    return proto


def test_interface_survives(tmp_path: Path) -> None:
    proto = annotated()
    written, _ = round_trip(proto, tmp_path)
    assert list(written.graph.input) == list(proto.graph.input)
    assert list(written.graph.output) == list(proto.graph.output)
    image, label = np.ones((2, 3, 5, 5), np.float32), np.array([3, 4])
    feeds = {"image": image, "label": label, "scale": np.array(2.0, np.float32)}
    assert_same(run(written, feeds), run(proto, feeds))


def test_header_survives(tmp_path: Path) -> None:
    proto = annotated()
    written, _ = round_trip(proto, tmp_path)
    for message in (proto, written):
        for field in ("node", "initializer", "input", "output"):
            message.graph.ClearField(field)
    assert written == proto


def test_nodes_survive(tmp_path: Path) -> None:
    proto = annotated()
    written, _ = round_trip(proto, tmp_path)
    assert {node.name: node for node in written.graph.node} == {node.name: node for node in proto.graph.node}
    assert initialisers(written).keys() == initialisers(proto).keys()
    for name, array in initialisers(proto).items():
        np.testing.assert_array_equal(initialisers(written)[name], array, strict=True)


def test_model_object_is_not_changed() -> None:
    proto = annotated()
    before = proto.SerializeToString(deterministic=True)
    load(proto)
    assert proto.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(("opset", "ir"), [(11, 6), (13, 7), (17, 8), (21, 10)])
def test_opsets(opset: int, ir: int) -> None:
    proto = build(
        "(float[N,4] x) => (float[N,4] y) { h = MatMul(x, w) y = Relu(h) }", {"w": (4, 4)}, opset=opset, ir=ir
    )
    out = normal_form(proto)
    assert (out.ir_version, [(o.domain, o.version) for o in out.opset_import]) == (ir, [("", opset)])


IF_READS_OUTSIDE = """(float[N,4] x) => (float[N,4] y) {
  zero = Constant<value = float {0.0}>()
  total = ReduceSum<keepdims = 0>(x)
  flag = Greater(total, zero)
  seen = Identity(x)
  wt = Transpose<perm = [1, 0]>(w)
  y = If(flag) <
    then_branch = yes () => (float[N,4] t) { t = MatMul(seen, wt) },
    else_branch = no () => (float[N,4] e) { bias = Constant<value = float[1] {0.25}>() e = Add(x, bias) }
  >
}"""


@pytest.mark.parametrize("sign", [1, -1])
def test_if_that_reads_outer_tensors(sign: int) -> None:
    out = normal_form(build(IF_READS_OUTSIDE, {"w": (4, 4)}), {"x": np.full((2, 4), sign, np.float32)})
    assert "If" in ops(out)


def test_loop_that_reads_outer_tensors() -> None:
    proto = build(
        """(float[N,4] x) => (float[N,4] y) {
          trips = Constant<value = int64 {3}>()
          true = Constant<value = bool {1}>()
          start = Identity(x)
          half = Mul(w, factor)
          y = Loop(trips, true, start) <
            body = step (int64 i, bool go, float[N,4] h) => (bool on, float[N,4] next) {
              on = Identity(go)
              p = MatMul(h, half)
              next = Add(p, x)
            }
          >
        }""",
        {"w": (4, 4), "factor": np.array([0.5], np.float32)},
    )
    assert "Loop" in ops(normal_form(proto))


@pytest.mark.parametrize("sign", [1, -1])
def test_initialisers_of_bodies_become_the_models(sign: int) -> None:
    text = IF_READS_OUTSIDE.replace("Add(x, bias)", "Mul(x, own)").replace("MatMul(seen, wt)", "Add(x, own)")
    proto = build(text, {"w": (4, 4)})
    for attribute, value in zip(proto.graph.node[-1].attribute, (3.0, 5.0), strict=True):
        attribute.g.initializer.append(onnx.numpy_helper.from_array(np.array([value], np.float32), "own"))
    out = normal_form(proto, {"x": np.full((2, 4), sign, np.float32)})
    assert {name: values.item() for name, values in initialisers(out).items() if "own" in name} == {
        "own": 3,
        "own.1": 5,
    }
    assert not any(attribute.g.initializer for attribute in out.graph.node[-1].attribute)


def test_ir_version_3_lists_initialisers_as_inputs() -> None:
    proto = build(
        "(float[N,4] x) => (float[N,4] y) { wt = Transpose<perm = [1, 0]>(w) h = MatMul(x, wt) y = MatMul(h, v) }",
        {"w": (4, 4), "v": (4, 4), "unused": (2, 2)},
        opset=11,
        ir=3,
    )
    for tensor in proto.graph.initializer:
        proto.graph.input.append(helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, list(tensor.dims)))
    out = normal_form(proto)
    assert out.ir_version == 3
    assert {value.name for value in out.graph.input} == {"x", *initialisers(out)}
    assert not unused(out)


def test_initialiser_with_an_input_of_its_name_stays_overridable() -> None:
    proto = build("(float[N,4] x, float[4,4] w) => (float[N,4] y) { y = MatMul(x, w) }", {"w": (4, 4)})
    out = normal_form(proto)
    assert [value.name for value in out.graph.input] == ["x", "w"]
    feeds = random_feeds(proto) | {"w": np.eye(4, dtype=np.float32)}
    assert_same(run(out, feeds), [feeds["x"]])


def test_arithmetic_on_an_overridable_initialiser_keeps_its_numbers() -> None:
    proto = build(
        "(float[N,4] x, float[4,4] w) => (float[N,4] y) { v = Transpose<perm = [1, 0]>(w) y = MatMul(x, v) }",
        {"w": (4, 4)},
    )
    normal_form(proto)


def test_outputs_that_are_constants() -> None:
    proto = build(
        """(float[N,4] x) => (float[N,4] y, float[4,4] w, float[2] c, float[4,4] wt, float[N,4] x) {
          c = Constant<value = float[2] {1.0, 2.0}>()
          wt = Transpose<perm = [1, 0]>(w)
          y = MatMul(x, w)
        }""",
        {"w": (4, 4)},
    )
    feeds = random_feeds(proto)
    out = to_proto(load(proto))
    assert [value.name for value in out.graph.output] == ["y", "w", "c", "wt", "x"]
    expected = random_weight("w", (4, 4))
    wanted = [feeds["x"] @ expected, expected, np.array([1, 2], np.float32), expected.T, feeds["x"]]
    assert_same(run(out, feeds), wanted)


def test_stale_value_info_is_dropped() -> None:
    proto = build("(float[N,4] x) => (float[N,4] y) { h = MatMul(x, w) y = Relu(h) }", {"w": (4, 4)})
    proto.graph.value_info.append(helper.make_tensor_value_info("h", TensorProto.FLOAT, ["N", 4]))
    assert not normal_form(proto).graph.value_info


def test_digest_follows_the_bytes(tmp_path: Path) -> None:
    digests = set()
    for name, value in (("a", 1.0), ("b", 1.0), ("c", 2.0)):
        proto = build("(float[N,1] x) => (float[N,1] y) { y = Mul(x, w) }", {"w": np.array([value], np.float32)})
        onnx.save(proto, tmp_path / name)
        digests.add(load(tmp_path / name).sha256)
    assert len(digests) == 2
