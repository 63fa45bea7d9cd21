"""Sparse weights are read as ONNX Runtime reads them, and what is damaged is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.helper import make_node, make_sparse_tensor

from graphprune.analysis.groups import find_groups
from graphprune.axes.infer import infer
from graphprune.errors import ModelError
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from tests.graphs import build, run

_X = np.random.default_rng(1).standard_normal((3, 4)).astype(np.float32)
_WEIGHT = np.where(np.arange(24) % 3, 0, np.arange(24) - 9.5).reshape(4, 6).astype(np.float32)


def sparse(indices: np.ndarray, dims: tuple[int, ...] = (4, 6)) -> onnx.SparseTensorProto:
    values = numpy_helper.from_array(_WEIGHT[_WEIGHT != 0], "w")
    made: onnx.SparseTensorProto = make_sparse_tensor(values, numpy_helper.from_array(indices, "w_at"), dims)
    return made


def network(weight: onnx.SparseTensorProto, *, is_constant: bool) -> onnx.ModelProto:
    proto = build("(float[N,4] x) => (float[N,2] y) { h = MatMul(x, w) g = Relu(h) y = MatMul(g, v) }", {"v": (6, 2)})
    if is_constant:
        proto.graph.node.insert(0, make_node("Constant", [], ["w"], sparse_value=weight))
    else:
        proto.graph.sparse_initializer.append(weight)
    return proto


@pytest.mark.parametrize("is_constant", [True, False])
@pytest.mark.parametrize("is_flat", [True, False])
def test_read_as_the_runtime_reads_it(tmp_path: Path, *, is_constant: bool, is_flat: bool) -> None:
    indices = np.flatnonzero(_WEIGHT) if is_flat else np.argwhere(_WEIGHT)
    path = tmp_path / "sparse.onnx"
    onnx.save(network(sparse(indices.astype(np.int64)), is_constant=is_constant), path)
    model = load(path)
    np.testing.assert_array_equal(run(to_proto(model), {"x": _X}), run(path, {"x": _X}))
    assert [group.size for group in find_groups(model, infer(model)) if group.is_prunable] == [6]


@pytest.mark.parametrize(
    ("indices", "dims", "said"),
    [
        (np.array([0, 3, 99, 4, 5, 6, 7, 8]), (4, 6), "an index lies outside"),
        (np.arange(8), (1 << 20, 1 << 20), "its sizes are"),
        (np.arange(3), (4, 6), "shape mismatch"),
        (np.array([[0, 0], [0, 9], [1, 1], [1, 2], [2, 2], [2, 3], [3, 3], [3, 4]]), (4, 6), "invalid entry"),
    ],
)
def test_damage_is_refused(indices: np.ndarray, dims: tuple[int, ...], said: str) -> None:
    with pytest.raises(ModelError, match=f"the sparse weight 'w' is damaged: .*{said}"):
        load(network(sparse(indices.astype(np.int64), dims), is_constant=False))
