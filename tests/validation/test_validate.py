"""Translation validation lets right rewrites pass and stops wrong ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from graphprune.analysis.blocks import Block, find_joins
from graphprune.data.dataset import Data, load_data
from graphprune.errors import ValidationFailed
from graphprune.ir.export import to_proto, write
from graphprune.ir.loading import load
from graphprune.ir.model import Model
from graphprune.rewrite import remove_blocks
from graphprune.rewrite.removal import Removal
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.validation.difference import relative_error
from graphprune.validation.validate import validate
from tests.graphs import initialisers, random_feeds, residual_mlp, run

OPTIONS = RuntimeOptions(threads=1)
NAN, INF = float("nan"), float("inf")


@pytest.fixture
def model() -> Model:
    return load(residual_mlp(4))


@pytest.fixture
def blocks(model: Model) -> list[Block]:
    return [join.block for join in find_joins(model) if join.block]


@pytest.fixture
def data(model: Model) -> Data:
    return load_data(random_feeds(to_proto(model), batch=7), model)


def rewire(proto: onnx.ModelProto) -> None:
    """The branch of block 3 reads the output of the stem instead of the stream."""
    (node,) = (node for node in proto.graph.node if node.name == "first3")
    node.input[0] = "h0"


def disturb(proto: onnx.ModelProto) -> None:
    """One weight matrix grows by 1 %."""
    (tensor,) = (tensor for tensor in proto.graph.initializer if tensor.name == "b0")
    tensor.CopyFrom(onnx.numpy_helper.from_array(1.01 * onnx.numpy_helper.to_array(tensor), "b0"))


def swap_blocks(proto: onnx.ModelProto) -> None:
    """Block 0 gets the weights of block 3 and the other way round."""
    for node in proto.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = {"a0": "a3", "a3": "a0"}.get(name, name)


def poison(proto: onnx.ModelProto) -> None:
    """One NaN among the head's weights."""
    (tensor,) = (tensor for tensor in proto.graph.initializer if tensor.name == "w_head")
    values = onnx.numpy_helper.to_array(tensor).copy()
    values[0, 0] = NAN
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, "w_head"))


def lose_a_node(proto: onnx.ModelProto) -> None:
    """The head is missing, so nothing makes the output: not valid ONNX."""
    del proto.graph.node[[node.name for node in proto.graph.node].index("head")]


def test_right_rewrite_passes(model: Model, blocks: list[Block], data: Data, tmp_path: Path) -> None:
    write(remove_blocks(model, blocks[1:3]), tmp_path / "small.onnx")
    result = validate([Removal(model, tuple(blocks[1:3]))], tmp_path / "small.onnx", data, 3, OPTIONS)
    assert result.max_relative_error <= result.tolerance <= 1e-4
    assert result.samples == 7


@pytest.mark.parametrize("breakage", [rewire, disturb, swap_blocks, poison, lose_a_node])
def test_broken_rewrite_is_stopped(
    model: Model, blocks: list[Block], data: Data, tmp_path: Path, breakage: Callable[[onnx.ModelProto], None]
) -> None:
    proto = to_proto(remove_blocks(model, blocks[1:3]))
    breakage(proto)
    onnx.save(proto, tmp_path / "small.onnx")
    with pytest.raises(ValidationFailed, match="nothing was written"):
        validate([Removal(model, tuple(blocks[1:3]))], tmp_path / "small.onnx", data, 3, OPTIONS)


@pytest.mark.parametrize("removed", [[], [1], [2, 1], [1, 2, 3]])
def test_other_blocks_than_planned_are_stopped(
    model: Model, blocks: list[Block], data: Data, tmp_path: Path, removed: list[int]
) -> None:
    write(remove_blocks(model, [blocks[i] for i in removed]), tmp_path / "small.onnx")
    with pytest.raises(ValidationFailed):
        validate([Removal(model, tuple([blocks[2]]))], tmp_path / "small.onnx", data, 3, OPTIONS)


def test_last_batch_is_looked_at(model: Model, blocks: list[Block], tmp_path: Path) -> None:
    """A rewrite that goes wrong for large inputs only, which come last."""
    proto = to_proto(remove_blocks(model, blocks[1:2]))
    for node in proto.graph.node:
        if node.name == "stem":
            node.output[0] = "raw"
    proto.graph.node.insert(1, onnx.helper.make_node("Clip", ["raw", "low", "high"], ["h0"], name="limit"))
    for name, value in (("low", -50), ("high", 50)):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(value, np.float32), name))
    onnx.save(proto, tmp_path / "small.onnx")
    ones = np.ones((6, 4), np.float32)
    validate([Removal(model, tuple(blocks[1:2]))], tmp_path / "small.onnx", load_data(ones, model), 4, OPTIONS)
    ones[5] = 1e4
    with pytest.raises(ValidationFailed):
        validate([Removal(model, tuple(blocks[1:2]))], tmp_path / "small.onnx", load_data(ones, model), 4, OPTIONS)


def test_nothing_of_a_removed_block_leaks(model: Model, blocks: list[Block]) -> None:
    """Weights that only removed blocks read become NaN; the pruned model never sees them."""
    proto = to_proto(model)
    gone = {name for block in (blocks[0], blocks[2]) for name in block.nodes}
    kept = {name for node in proto.graph.node if node.name not in gone for name in node.input}
    poisoned = initialisers(proto).keys() - kept
    assert poisoned == {"a0", "b0", "a2", "b2"}
    for tensor in proto.graph.initializer:
        if tensor.name in poisoned:
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.full(tuple(tensor.dims), NAN, np.float32), tensor.name))
    feeds = random_feeds(proto)
    assert np.isnan(run(proto, feeds)[0]).all()
    small = remove_blocks(load(proto), (blocks[0], blocks[2]))
    assert np.isfinite(run(to_proto(small), feeds)[0]).all()


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


@pytest.mark.parametrize(
    ("reference", "result", "expected"),
    [
        (floats(1, -4), floats(1, -4), 0.0),
        (floats(1, -4), floats(1, -3), 0.25),
        (floats(0, 0), floats(0, 0), 0.0),
        (floats(0, 0), floats(0, 1e-9), INF),
        (floats(2, NAN), floats(1, NAN), 0.5),
        (floats(2, NAN), floats(NAN, 2), INF),
        (floats(2, NAN), floats(2, 1), INF),
        (floats(2, 1), floats(2, NAN), INF),
        (floats(2, INF), floats(1, INF), 0.5),
        (floats(2, INF), floats(2, -INF), INF),
        (floats(2, INF), floats(2, NAN), INF),
        (floats(2, 1), floats(2, INF), INF),
        (floats(NAN, INF), floats(NAN, INF), 0.0),
        (floats(1, 2), floats(1, 2)[None], INF),
        (floats(1), floats(1, 1), INF),
        (floats(), floats(), 0.0),
        (floats(1), np.array([1.0]), INF),
        (np.array([3, 4]), np.array([3, 4]), 0.0),
        (np.array([3, 4]), np.array([3, 5]), INF),
        (np.array([True]), np.array([False]), INF),
        (np.array(["a"]), np.array(["a"]), 0.0),
        (np.array(["a"]), np.array(["b"]), INF),
        (np.array([1, 2], np.float16), np.array([1, 1], np.float16), 0.5),
        (np.array([6e4], np.float16), np.array([-6e4], np.float16), 2.0),
    ],
)
def test_relative_error(reference: np.ndarray, result: np.ndarray, expected: float) -> None:
    assert relative_error(reference, result) == expected


def test_relative_error_of_bfloat16() -> None:
    dtype = onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.BFLOAT16)
    assert relative_error(np.array([1, 2]).astype(dtype), np.array([1, 1]).astype(dtype)) == 0.5


def test_outputs_beyond_the_memory_limit_are_compared_in_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for one batch of outputs at a time, every sample is still compared and a late fault is found."""
    monkeypatch.setattr("graphprune.validation.oracle_check._OUTPUTS_LIMIT_BYTES", 1)
    model = load(residual_mlp(3))
    block = next(join.block for join in find_joins(model) if join.block)
    rows = np.random.default_rng(0).standard_normal((11, 4)).astype(np.float32)
    path = tmp_path / "small.onnx"
    write(remove_blocks(model, [block]), path)
    assert validate([Removal(model, tuple([block]))], path, load_data(rows, model), 4, RuntimeOptions()).samples == 11
    rows[-1] *= 1e3
    write(model, path)
    with pytest.raises(ValidationFailed, match="differs from the masked original"):
        validate([Removal(model, tuple([block]))], path, load_data(rows, model), 4, RuntimeOptions())
