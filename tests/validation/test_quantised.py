"""Quantised networks are proved exactly, by clipping what they round, and as they are, to within their rounding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import graphprune
from graphprune import RecoveryOptions, RunOptions, TimingOptions
from graphprune.analysis.groups import find_groups
from graphprune.axes.infer import infer
from graphprune.data.dataset import Data, load_data
from graphprune.errors import ValidationFailed
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from graphprune.pass_infra.joint.match import filter_count, filters_per_unit
from graphprune.rewrite import remove_units
from graphprune.rewrite.removal import Removal
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.validation import validate as room
from graphprune.validation.unrounded import without_rounding
from graphprune.validation.validate import validate
from tests.graphs import build, initialisers, random_weight, run

OPTIONS = RuntimeOptions(threads=1)
IMAGES = {"x": np.random.default_rng(0).standard_normal((16, 3, 6, 6)).astype(np.float32)}


def network() -> onnx.ModelProto:
    """Two convolutions with a scale for each filter and rounded activations, and a dense layer.

    Weights of seven bits, as quantisers reduce them: with eight, sums saturate on processors without VNNI.
    """
    random = np.random.default_rng(1)
    weights: dict[str, np.ndarray] = {}
    for name, shape in (("0", (8, 3, 3, 3)), ("1", (10, 8, 3, 3))):
        weights[f"q{name}"] = random.integers(-63, 64, shape).astype(np.int8)
        weights[f"s{name}"] = np.asarray(random.uniform(0.002, 0.008, shape[0]), np.float32)
        weights[f"z{name}"] = np.zeros(shape[0], np.int8)
        weights[f"p{name}"] = random.integers(-200, 200, shape[0]).astype(np.int32)
        weights[f"t{name}"] = 0.02 * weights[f"s{name}"]
    weights |= {
        "s": np.array(0.02, np.float32),
        "zx": np.array(128, np.uint8),
        "zr": np.array(0, np.uint8),
        "w": random_weight("w", (10, 4)),
    }
    return build(
        """(float[N,3,6,6] x) => (float[N,4] y) { xq = QuantizeLinear(x, s, zx) xd = DequantizeLinear(xq, s, zx)
        w0 = DequantizeLinear<axis = 0>(q0, s0, z0) b0 = DequantizeLinear<axis = 0>(p0, t0)
        [c0] a = Conv(xd, w0, b0) aq = QuantizeLinear(a, s, zr) ad = DequantizeLinear(aq, s, zr)
        w1 = DequantizeLinear<axis = 0>(q1, s1, z1) b1 = DequantizeLinear<axis = 0>(p1, t1)
        [c1] b = Conv(ad, w1, b1) bq = QuantizeLinear(b, s, zr) bd = DequantizeLinear(bq, s, zr)
        [pool] g = GlobalAveragePool(bd) f = Flatten(g) [fc] y = MatMul(f, w) }""",
        weights,
    )


def cut() -> tuple[Removal, onnx.ModelProto, Data]:
    model = load(network())
    typing = infer(model)
    groups = {group.writers[0]: group for group in find_groups(model, typing)}
    assert [groups[name].is_prunable for name in ("c0", "c1", "fc")] == [True, True, False]
    kept = {groups["c0"].atom: np.arange(8) % 3 > 0, groups["c1"].atom: np.arange(10) % 4 > 0}
    small = remove_units(model, typing, kept)
    return Removal(model, typing=typing, kept=kept), to_proto(small), load_data(IMAGES, model)


def test_a_right_rewrite_passes(tmp_path: Path) -> None:
    step, small, data = cut()
    onnx.save(small, tmp_path / "small.onnx")
    found = validate([step], tmp_path / "small.onnx", data, 4, OPTIONS)
    assert found.max_relative_error <= found.tolerance < 0.2


def other(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[onnx.ModelProto], None]:
    def spoil(proto: onnx.ModelProto) -> None:
        (tensor,) = (tensor for tensor in proto.graph.initializer if tensor.name == name)
        tensor.CopyFrom(onnx.numpy_helper.from_array(change(onnx.numpy_helper.to_array(tensor)), name))

    return spoil


@pytest.mark.parametrize(
    "spoil",
    [
        other("q1", lambda q: q[:, ::-1].copy()),  # inputs in another order
        other("s1", lambda s: s[::-1].copy()),
        other("p0", lambda p: np.roll(p, 1)),
        other(
            "q0", lambda q: np.where(np.arange(q.size).reshape(q.shape) == 5, q + 9, q).astype(np.int8)
        ),  # one weight
    ],
)
def test_a_wrong_one_is_stopped(spoil: Callable[[onnx.ModelProto], None], tmp_path: Path) -> None:
    """Also where the outputs differ by less than rounding does."""
    step, small, data = cut()
    spoil(small)
    onnx.save(small, tmp_path / "small.onnx")
    with pytest.raises(ValidationFailed, match="differs from the masked original"):
        validate([step], tmp_path / "small.onnx", data, 4, OPTIONS)


def test_as_it_is_it_is_compared_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scale of an activation that is not as it was shows in the rounding alone."""
    step, small, data = cut()
    node = next(node for node in small.graph.node if node.op_type == "QuantizeLinear" and node.input[0] == "b")
    node.input[1] = "other"
    small.graph.initializer.append(onnx.numpy_helper.from_array(np.array(0.05, np.float32), "other"))
    onnx.save(small, tmp_path / "small.onnx")
    monkeypatch.setattr(room, "without_rounding", lambda proto, _: proto)
    with pytest.raises(ValidationFailed, match="differs from the masked original"):
        validate([step], tmp_path / "small.onnx", data, 4, OPTIONS)


def test_without_rounding_saturation_stays() -> None:
    """By hand: what lies outside the range of the integers is cut, what lies inside stays."""
    proto = build(
        "(float[N] x) => (float[N] y) { q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) }",
        {"s": np.array(0.5, np.float32), "z": np.array(-128, np.int8)},
    )
    x = np.array([-1, 0.2, 3.3, 200], np.float32)
    np.testing.assert_allclose(run(without_rounding(proto, None), {"x": x})[0], [0, 0.2, 3.3, 127.5])
    np.testing.assert_allclose(run(proto, {"x": x})[0], [0, 0, 3.5, 127.5])


def test_pruned_from_end_to_end() -> None:
    options = RunOptions(
        batch=8, align=1, timing=TimingOptions(measure_latency=False), recovery=RecoveryOptions(repair=("ridge",))
    )
    result = graphprune.prune(network(), ["filter-magnitude{scope=group}"], IMAGES, "params=0.7", options=options)
    assert result.plan.reached <= 0.7
    assert result.repair is not None
    notes = {layer.layer: (layer.is_kept, layer.note) for layer in result.repair.layers}
    assert notes["c1"] == (False, "weights that are quantised stay")
    assert result.model is not None
    small = initialisers(to_proto(result.model))
    assert small["q1"].dtype == np.int8
    assert len(small["s1"]) == len(small["z1"]) == len(small["p1"]) == len(small["q1"])


def test_weights_alone_quantised() -> None:
    """ONNX Runtime rounds activations by itself before it multiplies them with weights of eight bits."""
    random = np.random.default_rng(2)
    proto = build(
        """(float[N,16] x) => (float[N,4] y) { w0 = DequantizeLinear<axis = 1>(q0, s0) [up] a = MatMul(x, w0)
        b = Tanh(a) w1 = DequantizeLinear<axis = 1>(q1, s1) [down] y = MatMul(b, w1) }""",
        {
            "q0": random.integers(-127, 127, (16, 64)).astype(np.int8),
            "s0": np.full(64, 0.004, np.float32),
            "q1": random.integers(-127, 127, (64, 4)).astype(np.int8),
            "s1": np.full(4, 0.004, np.float32),
        },
    )
    x = {"x": random.standard_normal((12, 16)).astype(np.float32)}
    options = RunOptions(align=1, timing=TimingOptions(measure_latency=False), recovery=RecoveryOptions(repair=()))
    result = graphprune.prune(proto, ["neuron-projection"], x, "ratio=0.4", options=options)
    assert result.validation is not None
    assert result.validation.max_relative_error <= result.validation.tolerance < 0.2


def test_filters_are_counted() -> None:
    """As those of layers that read their weights themselves."""
    model = load(network())
    group = next(group for group in find_groups(model, infer(model)) if group.writers == ("c0",))
    assert (filter_count(model), filters_per_unit(model, group)) == (18, 1)
