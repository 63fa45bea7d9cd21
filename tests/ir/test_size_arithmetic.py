"""The table of size arithmetic: on plain numbers it computes what ONNX's own evaluator does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from graphprune.ir.concrete_sizes import CONCRETE
from graphprune.ir.node_reading import NodeReading
from graphprune.ir.size_arithmetic import OPERATORS, evaluate, picked_dims

SIZES = np.array([7, 2, 1, 96], np.int64)
SIGNED = np.array([-7, 7, -8, 5], np.int64)
FLOATS = np.array([2.5, -0.5, 9.0, 0.0], np.float32)
FLAGS = np.array([True, False, True, True])
Case = tuple[list[Any], dict[str, Any]]
"""Inputs, None for one that is left out; attributes."""


def _ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


CASES: Mapping[str, Case] = {
    **{f"{op} sizes": ([SIZES, SIGNED], {}) for op in ("Add", "Sub", "Mul", "Div", "Mod", "Max", "Min")},
    **{f"{op} broadcast": ([FLOATS, np.array(2, np.float32)], {}) for op in ("Add", "Sub", "Mul", "Div", "Pow", "Max")},
    **{f"{op} sizes": ([SIZES, SIGNED], {}) for op in ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")},
    **{f"{op} flags": ([FLAGS, FLAGS[::-1].copy()], {}) for op in ("And", "Or")},
    **{f"{op} floats": ([FLOATS], {}) for op in ("Neg", "Abs", "Floor", "Ceil")},
    "Sqrt": ([np.abs(FLOATS)], {}),
    "Not": ([FLAGS], {}),
    "Neg": ([SIGNED], {}),
    "Pow": ([SIZES, np.array(2, np.int64)], {}),
    "Max of three": ([SIZES, SIGNED, _ints(3)], {}),
    "Min of one": ([SIZES], {}),
    "Where": ([FLAGS, SIZES, _ints(-1)], {}),
    **{f"Cast {kind}": ([FLOATS], {"to": kind}) for kind in (TensorProto.INT64, TensorProto.BOOL, TensorProto.FLOAT16)},
    "Cast": ([SIZES], {"to": TensorProto.FLOAT}),
    "Gather": ([SIZES, _ints(-1, 0)], {}),
    "Gather one": ([SIZES, np.array(2, np.int32)], {"axis": 0}),
    "Concat": ([SIZES, _ints(4), SIGNED], {"axis": 0}),
    "Reshape": ([SIZES, _ints(2, -1)], {}),
    "Reshape zero": ([SIZES, _ints(0, 1)], {}),
    "Squeeze": ([SIZES[:1]], {}),
    "Squeeze axes": ([SIZES[:1], _ints(0)], {}),
    "Unsqueeze": ([SIZES, _ints(0)], {}),
    "Slice": ([SIZES, _ints(1), _ints(2**62)], {}),
    "Slice backwards": ([SIZES, _ints(-1), _ints(-(2**62)), _ints(0), _ints(-2)], {}),
    "Slice without axes": ([SIZES, _ints(0), _ints(4), None, _ints(2)], {}),
    "Transpose": ([SIZES.reshape(2, 2)], {}),
    "Expand": ([_ints(3), _ints(2, 4)], {}),
    "Split": ([SIZES, _ints(1, 3)], {"outputs": 2}),
    "Split uneven": ([SIZES, None], {"outputs": 3, "num_outputs": 3}),
    "ConstantOfShape": ([_ints(3)], {"value": _ints(-1)}),
    "ConstantOfShape zeros": ([_ints(2, 2)], {}),
    "Range": ([np.array(1), np.array(9), np.array(3)], {}),
    "Range floats": ([np.float32(0), np.float32(1), np.float32(0.25)], {}),
    **{f"{op} all": ([SIZES, None], {"keepdims": 0}) for op in ("ReduceProd", "ReduceSum", "ReduceMax", "ReduceMin")},
    "ReduceProd": ([SIZES.astype(np.int32), _ints(0)], {}),
    "ReduceSum floats": ([FLOATS, None], {}),
    "ReduceMax nothing": ([SIZES, None], {"noop_with_empty_axes": 1}),
    "Identity": ([SIZES], {}),
}  # fmt: skip  # a table, a row a line


def _node(op: str, inputs: list[Any], attributes: dict[str, Any]) -> tuple[gs.Node, dict[str, np.ndarray]]:
    attributes = dict(attributes)
    outputs = [gs.Variable(f"y{index}") for index in range(attributes.pop("outputs", 1))]
    if "value" in attributes:
        attributes["value"] = gs.Constant("value", attributes["value"])
    names = [gs.Variable(f"x{index}" if value is not None else "") for index, value in enumerate(inputs)]
    feeds = {f"x{index}": np.asarray(value) for index, value in enumerate(inputs) if value is not None}
    return gs.Node(op, op, attributes, names, outputs), feeds


@pytest.mark.parametrize("name", CASES)
def test_plain_numbers_are_computed_as_by_onnx_itself(name: str) -> None:
    inputs, attributes = CASES[name]
    node, feeds = _node(name.split()[0], inputs, attributes)
    found = evaluate(NodeReading(node), [feeds.get(tensor.name) for tensor in node.inputs], CONCRETE)
    proto = gs.exporters.onnx_exporter.OnnxExporter.export_node(node)
    expected = ReferenceEvaluator(proto, opsets={"": 18}).run(None, feeds)
    assert found is not None
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert (one.dtype, one.shape) == (np.asarray(other).dtype, np.shape(other))
        assert np.array_equal(one, other)


def test_every_operator_of_the_table_has_a_case() -> None:
    assert {name.split()[0] for name in CASES} == OPERATORS


@pytest.mark.parametrize(
    ("op", "x", "attributes", "expected"),
    [
        ("Slice", SIZES, {"starts": [1], "ends": [3], "axes": [0]}, SIZES[1:3]),
        ("Unsqueeze", SIZES, {"axes": [0]}, SIZES[None]),
        ("Squeeze", SIZES[None], {"axes": [0]}, SIZES),
        ("ReduceSum", SIZES, {"axes": [0], "keepdims": 0}, np.array(106)),
    ],
)
def test_older_operator_sets_hold_numbers_in_attributes(
    op: str, x: np.ndarray, attributes: dict[str, Any], expected: np.ndarray
) -> None:
    node, _ = _node(op, [x], attributes)
    results = evaluate(NodeReading(node), [x], CONCRETE)
    assert results is not None
    (found,) = results
    assert found.shape == expected.shape
    assert np.array_equal(found, expected)


def test_what_the_domain_cannot_say_is_left_to_others() -> None:
    for op, inputs, attributes in (
        ("Sin", [FLOATS], {}),  # no operator of sizes
        ("Mod", [FLOATS, FLOATS], {"fmod": 1}),
        ("Cast", [SIZES], {"to": TensorProto.BFLOAT16}),
        ("Add", [SIZES, FLOATS], {}),
        ("ReduceSum", [SIZES.reshape(2, 2)], {}),
        ("ReduceProd", [SIZES[:0]], {}),
    ):
        node, feeds = _node(op, inputs, attributes)
        assert evaluate(NodeReading(node), list(feeds.values()), CONCRETE) is None
    node, _ = _node("Add", [SIZES, SIZES], {})
    assert evaluate(NodeReading(node), [SIZES, None], CONCRETE) is None


def test_dimensions_with_names_are_moved_about_and_not_computed() -> None:
    dims = np.array(["batch", 3, None], object)
    gather, _ = _node("Gather", [dims, _ints(0)], {})
    results = evaluate(NodeReading(gather), [dims, np.array(0)], CONCRETE)
    assert results is not None
    (found,) = results
    assert found.shape == ()
    assert found.item() == "batch"
    add, _ = _node("Add", [dims, dims], {})
    assert evaluate(NodeReading(add), [dims, dims], CONCRETE) is None
    assert evaluate(NodeReading(gather), [SIZES, dims], CONCRETE) is None


@pytest.mark.parametrize(("attributes", "axes"), [({}, [0, 1, 2]), ({"start": -2}, [1, 2]), ({"end": 1}, [0])])
def test_a_shape_writes_the_sizes_of_a_range_of_axes(attributes: dict[str, int], axes: list[int]) -> None:
    node = gs.Node("Shape", "s", attributes, [gs.Variable("x")], [gs.Variable("y")])
    assert list(picked_dims(NodeReading(node), 3)) == axes
