"""The rewrite itself: what it copies, what it names, what it leaves alone."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphprune.analysis.groups import find_groups
from graphprune.axes.infer import infer
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from graphprune.ir.model import Model
from graphprune.rewrite import remove_units
from graphprune.rewrite.removal import Removal
from graphprune.validation.masked_original import masked_original
from tests.axes.cases import Case, between, case, typed
from tests.axes.every_case import every_case
from tests.axes.oracles import check_rewrite, feeds_for, keep_share
from tests.graphs import initialisers, run

TIED = case(
    "tied",
    between("[c] b = MatMul(a, w) [d] h = Gemm<transB = 1>(b, w)"),
    {"w1": (4, 8), "w": (8, 6), "w2": (8, 5)},
    "",
)
GROUPED = case(
    "grouped",
    "(float[N, 3, 6, 6] x) => (float[N, 4, 6, 6] y) { [first] a = Conv(x, w1) [g] h = Conv<group = 3>(a, w) "
    "[last] y = Conv(h, w2) }",
    {"w1": (12, 3, 1, 1), "w": (6, 4, 1, 1), "w2": (4, 6, 1, 1)},
    "",
)


def shapes(model: Model) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in initialisers(to_proto(model)).items()}


@pytest.mark.parametrize("one", every_case(), ids=lambda one: str(one.name))
def test_the_original_is_not_touched(one: Case) -> None:
    model, typing, groups = typed(one)
    before = to_proto(model).SerializeToString(deterministic=True)
    attributes = {node.name: dict(node.attrs) for node in model.graph.nodes}
    remove_units(model, typing, keep_share([group for group in groups if group.is_prunable], 0.5))
    assert to_proto(model).SerializeToString(deterministic=True) == before
    assert {node.name: dict(node.attrs) for node in model.graph.nodes} == attributes


@pytest.mark.parametrize("one", every_case(), ids=lambda one: str(one.name))
def test_nothing_removed_changes_nothing(one: Case) -> None:
    """Neither an empty plan nor one that keeps every unit."""
    model, typing, groups = typed(one)
    expected = to_proto(model)
    for kept in ({}, {group.atom: np.ones(group.size, dtype=bool) for group in groups if group.is_prunable}):
        assert to_proto(remove_units(model, typing, kept)) == expected


def test_weight_read_both_ways_is_cloned_where_it_is_cut_apart() -> None:
    model, typing, groups = typed(TIED)
    atoms = {group.writers[0]: group.atom for group in groups if group.is_prunable}
    kept = {atoms["first"]: np.arange(8) < 5}
    small = remove_units(model, typing, kept)
    assert sorted(shapes(small).values()) == sorted([(4, 5), (5, 6), (8, 6), (8, 5)])
    check_rewrite(model, typing, kept, [feeds_for(to_proto(model), {})])


def test_weight_cut_alike_by_all_readers_keeps_its_name_and_is_one() -> None:
    model, typing, groups = typed(TIED)
    atoms = {group.writers[0]: group.atom for group in groups if group.is_prunable}
    small = remove_units(model, typing, {atoms["c"]: np.arange(6) < 2})
    assert shapes(small) == {"w1": (4, 8), "w": (8, 2), "w2": (8, 5)}


def test_square_weight_read_along_either_axis_is_cut_along_each() -> None:
    """Both readers have one axis that shrinks, the same one, but not at the same place."""
    text = (
        "(float[N, 4] x) => (float[N, 8] y, float[N, 8] z) { [first] a = MatMul(x, w1) [c] y = MatMul(a, w) "
        "[d] z = Gemm<transB = 1>(a, w) }"
    )
    model, typing, groups = typed(case("square", text, {"w1": (4, 8), "w": (8, 8)}))
    free = [group for group in groups if group.is_prunable]
    assert [group.size for group in free] == [8]
    small = check_rewrite(model, typing, keep_share(free, 0.4), [feeds_for(to_proto(model), {})])
    assert sorted(tuple(tensor.dims) for tensor in small.graph.initializer) == [(4, 5), (5, 8), (8, 5)]


def test_groups_of_a_convolution_follow() -> None:
    model, typing, groups = typed(GROUPED)
    atom = next(group.atom for group in groups if group.size == 3)
    small = remove_units(model, typing, {atom: np.array([True, False, True])})
    (node,) = (node for node in to_proto(small).graph.node if node.name == "g")
    assert [attribute.i for attribute in node.attribute if attribute.name == "group"] == [2]
    assert shapes(small) == {"w1": (8, 3, 1, 1), "w": (4, 4, 1, 1), "w2": (4, 4, 1, 1)}


def test_kept_indices_are_the_ones_asked_for() -> None:
    model, typing, groups = typed(TIED)
    atom = next(group.atom for group in groups if group.writers[0] == "first")
    kept = np.array([1, 0, 0, 1, 1, 0, 1, 0], dtype=bool)
    small = initialisers(to_proto(remove_units(model, typing, {atom: kept})))
    whole = initialisers(to_proto(model))
    np.testing.assert_array_equal(small["w1"], whole["w1"][:, kept])
    np.testing.assert_array_equal(next(v for v in small.values() if v.shape == (4, 6)), whole["w"][kept])


def test_small_model_is_typed_and_cut_again() -> None:
    model, typing, groups = typed(GROUPED)
    first = remove_units(
        model, typing, {next(group.atom for group in groups if group.size == 3): np.array([1, 0, 1], bool)}
    )
    again = infer(first)
    sizes = sorted(group.size for group in find_groups(first, again) if group.is_prunable)
    assert sizes == [2, 2, 4]
    check_rewrite(
        first,
        again,
        keep_share([g for g in find_groups(first, again) if g.is_prunable], 0.4),
        [feeds_for(to_proto(first), {})],
    )


@pytest.mark.parametrize("ir", [3, 4])
def test_weights_declared_as_inputs(ir: int) -> None:
    """IR version 3 lists every initialiser among the inputs, with its shape."""
    proto = TIED.proto()
    proto.ir_version = ir
    proto.opset_import[0].version = 13
    for tensor in proto.graph.initializer:
        proto.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    model = load(proto)
    typing = infer(model)
    free = [group for group in find_groups(model, typing) if group.is_prunable]
    check_rewrite(model, typing, keep_share(free, 0.4), [feeds_for(to_proto(model), {})])


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_other_precisions(dtype: type) -> None:
    weights = {"w1": (4, 8), "w2": (8, 5), "b": (8,)}
    one = case("precise", between("h0 = Add(a, b) h = Relu(h0)"), weights)
    proto = one.proto()
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    for tensor in proto.graph.initializer:
        tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype(dtype), tensor.name))
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = kind
    model = load(proto)
    typing = infer(model)
    kept = keep_share([group for group in find_groups(model, typing) if group.is_prunable], 0.4)
    feeds = feeds_for(to_proto(model), {})
    (masked,) = run(masked_original(Removal(model, typing=typing, kept=kept)), feeds)
    (small,) = run(to_proto(remove_units(model, typing, kept)), feeds)
    assert masked.dtype == small.dtype == dtype
    np.testing.assert_allclose(masked, small, rtol=1e-2 if dtype is np.float16 else 1e-12, atol=1e-3)


def test_batch_norm_of_one_axis() -> None:
    one = case(
        "one-axis", "(float[N] x) => (float[N] y) { [bn] y = BatchNormalization(x, s, s, s, s) }", {"s": (1,)}, sizes=()
    )
    _, typing, groups = typed(one)
    assert groups == []
    assert [missing.op for missing in typing.missing] == ["BatchNormalization"]


def test_einsum_that_broadcasts_what_it_sums_over() -> None:
    text = (
        "(float[N, 4] x, float[N, 1] z) => (float[N, 5] y) { [first] a = MatMul(x, w1) "
        '[e] s = Einsum<equation = "ni,ni->n">(z, a) u = Unsqueeze(s, one) y = MatMul(u, w2) }'
    )
    model, typing, groups = typed(case("broadcast", text, {"w1": (4, 8), "w2": (1, 5), "one": np.array([1])}))
    free = [group for group in groups if group.is_prunable]
    assert [group.size for group in free] == [8]
    check_rewrite(model, typing, keep_share(free, 0.4), [feeds_for(to_proto(model), {})])
