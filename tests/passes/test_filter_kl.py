"""``filter-kl``: the definition the slow way, where units are read once, twice, one after the other, and by heads."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphprune.errors import NothingToPrune, OptionError
from tests.graphs import build, run
from tests.passes.asking import decided, pruned, scores
from tests.passes.test_layer_kl import divergence
from tests.token_graphs import Shape, tokens, transformer


def images(count: int = 10) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(1).standard_normal((count, 3, 6, 6)).astype(np.float32)}


def zeroed(proto: onnx.ModelProto, places: dict[str, tuple[slice | int, ...]]) -> onnx.ModelProto:
    """The network with parts of some weights at zero."""
    changed = onnx.ModelProto()
    changed.CopyFrom(proto)
    for name, place in places.items():
        weight = next(each for each in changed.graph.initializer if each.name == name)
        values = onnx.numpy_helper.to_array(weight).copy()
        values[place] = 0
        weight.CopyFrom(onnx.numpy_helper.from_array(values, name))
    return changed


@pytest.mark.parametrize("batch", [3, 16])
def test_scores_are_the_divergence_without_the_filter(batch: int) -> None:
    proto = build(
        """(float[N,3,6,6] x) => (float[N,4] y) {
        [one] a = Conv(x, w0) b = Sigmoid(a) [two] c = Conv(b, w1) d = Relu(c)
        e = GlobalAveragePool(d) f = Flatten(e) [head] y = MatMul(f, w2)
        }""",
        {"w0": (5, 3, 3, 3), "w1": (6, 5, 3, 3), "w2": (6, 4)},
    )
    found = scores(decided(proto, "filter-kl{samples=10,scope=group}", images(), "ratio=0.4", batch=batch))
    dense = run(proto, images())[0]
    for group, weight, axis, size in (("one/filters", "w1", 1, 5), ("two/filters", "w2", 0, 6)):
        places = [(slice(None),) * axis + (unit,) for unit in range(size)]
        wanted = [divergence(dense, run(zeroed(proto, {weight: place}), images())[0]) for place in places]
        np.testing.assert_allclose(found[group], wanted, rtol=1e-4)


def test_all_readers_are_deaf_to_the_unit_one_after_the_other() -> None:
    """What the second reader adds to the joined tensor has changed, too."""
    proto = build(
        """(float[N,3,6,6] x) => (float[N,4] y) {
        [one] a = Conv(x, w0) b = Relu(a) [two] c = Conv<pads=[1,1,1,1]>(b, w1) d = Relu(c)
        j = Concat<axis=1>(b, d) e = GlobalAveragePool(j) f = Flatten(e) [head] y = MatMul(f, w2)
        }""",
        {"w0": (5, 3, 3, 3), "w1": (6, 5, 3, 3), "w2": (11, 4)},
    )
    found = scores(decided(proto, "filter-kl{scope=group}", images(), "ratio=0.4"))["one/filters"]
    dense = run(proto, images())[0]
    without = [zeroed(proto, {"w1": (slice(None), unit), "w2": (unit,)}) for unit in range(5)]
    np.testing.assert_allclose(found, [divergence(dense, run(each, images())[0]) for each in without], rtol=1e-4)


def test_squeeze_and_excitation_reads_the_unit_too() -> None:
    proto = build(
        """(float[N,3,6,6] x) => (float[N,4] y) {
        [one] a = Conv(x, w0) g = GlobalAveragePool(a) [squeeze] s = Conv(g, w3) t = Relu(s) [excite] u = Conv(t, w4)
        v = Sigmoid(u) m = Mul(a, v) [two] c = Conv(m, w1) e = GlobalAveragePool(c) f = Flatten(e)
        [head] y = MatMul(f, w2)
        }""",
        {"w0": (5, 3, 3, 3), "w1": (6, 5, 3, 3), "w2": (6, 4), "w3": (2, 5, 1, 1), "w4": (5, 2, 1, 1)},
    )
    found = scores(decided(proto, "filter-kl{scope=group}", images(), "ratio=0.4"))["one/filters"]
    dense = run(proto, images())[0]
    without = [zeroed(proto, {"w1": (slice(None), unit), "w3": (slice(None), unit)}) for unit in range(5)]
    np.testing.assert_allclose(found, [divergence(dense, run(each, images())[0]) for each in without], rtol=1e-4)


def test_heads_and_neurons() -> None:
    """Groups of one kind need no scale: all are in nats."""
    shape = Shape(layers=2)
    proto, feeds = transformer(shape), tokens(shape)
    result = decided(proto, "filter-kl{scope=group}", feeds, "ratio=0.4")
    found, dense = scores(result), run(proto, feeds)[0]
    names = {each.name: each.dims for each in proto.graph.initializer}
    head = next(name for name in found if "head" in name and name.startswith("l0"))
    output = next(name for name, dims in names.items() if name.startswith("wo") and name.endswith("0"))
    rows = [slice(3 * unit, 3 * unit + 3) for unit in range(4)]
    wanted = [divergence(dense, run(zeroed(proto, {output: (each,)}), feeds)[0]) for each in rows]
    np.testing.assert_allclose(found[head], wanted, rtol=1e-4)


def test_the_cheapest_units_go_and_the_result_is_proved() -> None:
    shape = Shape(layers=2)
    result = pruned(transformer(shape), "filter-kl", tokens(shape), "params=0.7")
    assert result.validation is not None
    assert result.validation.max_relative_error < 1e-5
    for units in result.plan.units:
        kept = [score for unit, score in enumerate(units.scores) if unit not in units.removed]
        assert max(units.scores[unit] for unit in units.removed) <= min(kept)


def test_few_samples_are_looked_at() -> None:
    proto = build(
        """(float[N,3,6,6] x) => (float[N,4] y) {
        [one] a = Conv(x, w0) b = Relu(a) e = GlobalAveragePool(b) f = Flatten(e) [head] y = MatMul(f, w2)
        }""",
        {"w0": (5, 3, 3, 3), "w2": (5, 4)},
    )
    few, many = (
        scores(decided(proto, spec, images(10), "ratio=0.4"))["one/filters"]
        for spec in ("filter-kl{samples=4}", "filter-kl")
    )
    first = scores(decided(proto, "filter-kl", {"x": images(10)["x"][:4]}, "ratio=0.4"))["one/filters"]
    np.testing.assert_array_equal(few, first)
    assert not np.allclose(few, many)
    inner = scores(decided(proto, "filter-kl{representation=f}", images(10), "ratio=0.4"))["one/filters"]
    assert not np.allclose(inner, many)


def test_refuses() -> None:
    proto = build(
        """(float[N,3,6,6] x) => (float[N,4,4,4] y) { [one] a = Conv(x, w0) b = Relu(a) [two] y = Conv(b, w1) }""",
        {"w0": (5, 3, 3, 3), "w1": (4, 5, 1, 1)},
    )
    with pytest.raises(OptionError, match="holds neither class scores nor logits"):
        decided(proto, "filter-kl{scope=group}", images(), "ratio=0.4")
    with pytest.raises(OptionError, match="samples of filter-kl"):
        decided(proto, "filter-kl{samples=0}", images(), "ratio=0.4")
    with pytest.raises(NothingToPrune):
        decided(proto, "filter-kl{exclude=*}", images(), "ratio=0.4")
