"""MACs and parameters against counts by hand and against the published tables."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest

from graphprune.analysis.blocks import Block, find_joins
from graphprune.analysis.cost import model_cost, part_cost
from graphprune.analysis.sizes import concrete_sizes
from graphprune.ir.export import to_proto, write
from graphprune.ir.loading import load
from graphprune.ir.model import Model
from graphprune.rewrite import remove_blocks
from graphprune.runtime.sessions import RuntimeOptions
from tests.graphs import build, random_feeds, residual_mlp

OPTIONS = RuntimeOptions(threads=1)


def sizes_of(model: Model, batch: int = 1) -> dict[str, tuple[int, ...]]:
    return concrete_sizes(model, random_feeds(to_proto(model), batch), OPTIONS)


def macs(proto: onnx.ModelProto, batch: int = 1) -> int:
    model = load(proto)
    return model_cost(model, sizes_of(model, batch)).macs


@pytest.mark.parametrize(
    ("shape", "weight", "attributes", "expected"),
    [
        ([3, 8, 8], [16, 3, 3, 3], "pads = [1, 1, 1, 1]", 8 * 8 * 16 * 3 * 9),
        ([3, 8, 8], [16, 3, 3, 3], "strides = [2, 2]", 3 * 3 * 16 * 3 * 9),
        ([3, 8, 8], [16, 3, 3, 3], "dilations = [2, 2]", 4 * 4 * 16 * 3 * 9),
        ([8, 6, 5], [12, 2, 1, 1], "group = 4", 6 * 5 * 12 * 2),
        ([8, 6, 6], [8, 1, 3, 3], "group = 8", 4 * 4 * 8 * 9),
        ([8, 6, 6], [16, 1, 3, 3], "group = 8", 4 * 4 * 16 * 9),
        ([4, 10], [6, 4, 3], "pads = [1, 1]", 10 * 6 * 4 * 3),
        ([2, 4, 5, 6], [3, 2, 2, 3, 1], "", 3 * 3 * 6 * 3 * 2 * 6),
    ],
    ids=["2d", "strided", "dilated", "grouped", "depthwise", "multiplier", "1d", "3d"],
)
def test_convolution(shape: Sequence[int], weight: Sequence[int], attributes: str, expected: int) -> None:
    dims = ",".join(map(str, shape))
    free = ",".join("?" for _ in shape)
    proto = build(
        f"(float[N,{dims}] x) => (float[N,{free}] y) {{ y = Conv{f'<{attributes}>' if attributes else ''}(x, w, b) }}",
        {"w": weight, "b": (weight[0],)},
    )
    assert macs(proto) == expected
    assert macs(proto, batch=3) == 3 * expected


@pytest.mark.parametrize(
    ("weight", "attributes", "expected"),
    [
        ([4, 6, 3, 3], "", 5 * 5 * 4 * 6 * 9),
        ([4, 6, 2, 2], "strides = [2, 2]", 5 * 5 * 4 * 6 * 4),
        ([4, 3, 3, 3], "group = 2", 5 * 5 * 4 * 3 * 9),
    ],
    ids=["plain", "strided", "grouped"],
)
def test_transposed_convolution(weight: Sequence[int], attributes: str, expected: int) -> None:
    attributes = f"<{attributes}>" if attributes else ""
    proto = build(f"(float[N,4,5,5] x) => (float[N,6,A,B] y) {{ y = ConvTranspose{attributes}(x, w) }}", {"w": weight})
    assert macs(proto) == expected
    assert macs(proto, batch=3) == 3 * expected


@pytest.mark.parametrize(
    ("data", "weight", "call"),
    [
        ([5, 4], [4, 6], "Gemm(x, w)"),
        ([5, 4], [6, 4], "Gemm<transB = 1>(x, w)"),
        ([4, 5], [4, 6], "Gemm<transA = 1>(x, w)"),
        ([4, 5], [6, 4], "Gemm<transA = 1, transB = 1>(x, w)"),
        ([4, 5], [6, 4], "Gemm(w, x)"),
        ([4, 5], [4, 6], "Gemm<transA = 1>(w, x)"),
        ([5, 4], [6, 4], "Gemm<transB = 1>(w, x)"),
        ([5, 4], [4, 6], "MatMul(x, w)"),
        ([4, 5], [6, 4], "MatMul(w, x)"),
    ],
)
def test_dense_layer_of_four_inputs_six_outputs_five_rows(
    data: Sequence[int], weight: Sequence[int], call: str
) -> None:
    proto = build(f"(float[{data[0]},{data[1]}] x) => (float[A,B] y) {{ y = {call} }}", {"w": weight})
    assert macs(proto) == 5 * 4 * 6


@pytest.mark.parametrize(
    ("data", "weight", "call", "expected"),
    [
        ("2,3,5,4", [4, 6], "MatMul(x, w)", 2 * 3 * 5 * 4 * 6),
        ("2,3,4,5", [6, 4], "MatMul(w, x)", 2 * 3 * 5 * 4 * 6),
        ("3,5,4", [3, 4, 6], "MatMul(x, w)", 3 * 5 * 4 * 6),
        ("3,4,5", [3, 6, 4], "MatMul(w, x)", 3 * 5 * 4 * 6),
        ("2,1,5,4", [3, 4, 6], "MatMul(x, w)", 2 * 3 * 5 * 4 * 6),
        ("2,5,4", [4], "MatMul(x, w)", 2 * 5 * 4),
    ],
    ids=["right", "left", "experts right", "experts left", "broadcast experts", "vector"],
)
def test_batched_matmul(data: str, weight: Sequence[int], call: str, expected: int) -> None:
    proto = build(f"(float[{data}] x) => (float y) {{ m = {call} y = ReduceSum<keepdims = 0>(m) }}", {"w": weight})
    assert macs(proto) == expected


def test_what_holds_no_weights_costs_nothing() -> None:
    proto = build(
        """(float[N,5,4] x) => (float[N,5,4] y) {
          t = Transpose<perm = [0, 2, 1]>(x) s = MatMul(x, t) p = Softmax(s) a = MatMul(p, x)
          n = LayerNormalization(a, scale) r = Relu(n) y = Add(r, x) }""",
        {"scale": (4,)},
    )
    assert macs(proto) == 0


def test_parameters_count_shared_weights_once_and_scalars_not() -> None:
    proto = build(
        """(float[N,4] x, int64[N] i) => (float[N,4] y, int64[N,2] z) {
          a = MatMul(x, w) b = MatMul(a, w) c = Mul(b, scalar) d = Add(c, bias) e = Identity(d) y = Relu(e)
          z = Gather(table, i) }""",
        {"w": (4, 4), "bias": (4,), "scalar": np.array(2, np.float32), "table": np.zeros((9, 2), np.int64)},
    )
    model = load(proto)
    assert model_cost(model, sizes_of(model)).params == 16 + 4


def test_half_precision_parameters_count() -> None:
    proto = build("(float[N,4] x) => (float[N,6] y) { a = Cast<to = 16>(x) m = MatMul(a, w) y = Cast<to = 1>(m) }")
    proto.graph.initializer.append(onnx.helper.make_tensor("w", onnx.TensorProto.BFLOAT16, [4, 6], [1.0] * 24))
    model = load(proto)
    assert model_cost(model, {"a": (1, 4), "m": (1, 6)}).params == 24


def test_bytes_are_those_of_the_written_file(tmp_path: Path) -> None:
    model = load(residual_mlp(3, width=32))
    write(model, tmp_path / "m.onnx")
    assert model_cost(model, sizes_of(model)).bytes == (tmp_path / "m.onnx").stat().st_size


def test_part_costs_what_leaves_with_it() -> None:
    proto = build(
        "(float[N,4] x) => (float[N,8] y) { [a] p = MatMul(x, own) [b] q = MatMul(p, shared) y = MatMul(q, shared) }",
        {"own": (4, 8), "shared": (8, 8)},
    )
    model = load(proto)
    cost = part_cost(model, ["a", "b"], sizes_of(model))
    assert (cost.macs, cost.params) == (4 * 8 + 8 * 8, 4 * 8)


# The tables of the papers (methods.md section 1.2). The authors' ResNet56 has projection shortcuts; the others do not.
MODELS = Path(os.environ.get("GRAPHPRUNE_DATA", Path(__file__).parents[3] / "shared")) / "models"
BLOCK_MACS = 4_718_592
STEM_AND_HEAD = 32 * 32 * 16 * 27 + 64 * 10


def without_projections(depth: int) -> int:
    """``(depth - 2) / 2`` blocks of equal cost, but the two that halve the resolution have a cheaper first conv."""
    blocks = (depth - 2) // 6 * 3
    return STEM_AND_HEAD + blocks * BLOCK_MACS - 2 * BLOCK_MACS // 4


def published(name: str) -> tuple[Model, dict[str, tuple[int, ...]]]:
    path = MODELS / f"{name}.onnx"
    if not path.is_file():
        pytest.skip(f"{path} is not there; set GRAPHPRUNE_DATA to the folder that holds models/")
    model = load(path)
    (image,) = model.graph.inputs
    shape = tuple(dim if isinstance(dim, int) else 1 for dim in model.shapes[image.name])
    return model, concrete_sizes(model, {image.name: np.zeros(shape, np.float32)}, OPTIONS)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("authors_resnet56", 125_747_840),
        ("resnet20", without_projections(20)),
        ("resnet32", without_projections(32)),
        ("resnet44", without_projections(44)),
        ("resnet56", 125_485_696),
        ("resnet56_bn", 125_485_696),
    ],
)
def test_published_macs(name: str, expected: int) -> None:
    model, sizes = published(name)
    assert model_cost(model, sizes).macs == expected


def test_formula_agrees_with_the_count_of_resnet56() -> None:
    assert without_projections(56) == 125_485_696


@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        ("authors_resnet56", {10: 37.52, 15: 56.29, 16: 60.04, 20: 75.05, 21: 78.80}),
        ("resnet56", {10: 37.60, 21: 78.97}),
    ],
)
def test_published_percentages(name: str, pairs: dict[int, float]) -> None:
    model, sizes = published(name)
    dense = model_cost(model, sizes).macs
    joins = find_joins(model, sizes)
    first_of_stage = {join.stage: join.node for join in reversed(joins)}
    blocks: list[Block] = [join.block for join in joins if join.block and first_of_stage[join.stage] != join.node]
    assert len(blocks) == 24
    for count, percent in pairs.items():
        left = model_cost(remove_blocks(model, blocks[:count]), sizes).macs
        assert dense - left == count * BLOCK_MACS
        assert 100 * (1 - left / dense) == pytest.approx(percent, abs=0.005)
