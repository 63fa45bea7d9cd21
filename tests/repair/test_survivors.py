"""Survivors against weights that carry their own number: what is left of them in the file tells who survived."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphprune.repair.survivors import survivors
from tests.graphs import build, initialisers, random_feeds, residual_mlp
from tests.repair.nets import resnet, with_weights
from tests.repair.story import Story, images, story
from tests.small_cnns import flattened
from tests.token_graphs import Shape, tokens, transformer


def numbered(proto: onnx.ModelProto, axes: dict[str, int]) -> onnx.ModelProto:
    """Along one axis of each of these weights, the index itself."""
    old = initialisers(proto)
    changed = {}
    for name, axis in axes.items():
        shape = [-1 if index == axis else 1 for index in range(old[name].ndim)]
        numbers = np.arange(old[name].shape[axis], dtype=np.float32).reshape(shape)
        changed[name] = np.ascontiguousarray(np.broadcast_to(numbers, old[name].shape))
    return with_weights(proto, changed)


def traced(net: Story, weight: str, axis: int) -> list[int]:
    """The numbers left."""
    left = initialisers(net.small_proto)[weight]
    return [int(number) for number in np.moveaxis(left, axis, 0).reshape(left.shape[axis], -1)[:, 0]]


def survived(net: Story, tensor: str, axis: int) -> list[int]:
    size = net.original.sizes[tensor][axis]
    return [int(index) for index in survivors(net.steps, tensor, axis, size)]


def test_nothing_removed() -> None:
    net = story(flattened(), images(2))
    assert survived(net, "a", 1) == list(range(6))


def test_filters_neurons_and_what_flatten_makes_of_them() -> None:
    """Twice from the same group: indices of the second cut count what the first has left."""
    net = story(numbered(flattened(), {"b1": 0, "w3": 0, "b4": 0, "w4": 1}), images(2))
    net.cut("c1", [1, 4]).cut("c3", [0]).cut("c1", [0, 2]).cut("fc1", [9, 3]).cut("c3", [6, 2])
    for tensor, axis, weight, place in (("a", 1, "b1", 0), ("g", 1, "w3", 0), ("h", 1, "w4", 1), ("j", 1, "b4", 0)):
        assert survived(net, tensor, axis) == traced(net, weight, place)
    assert survived(net, "c", 1) == [2, 5]


def test_units_blocks_and_units_again() -> None:
    net = story(numbered(resnet(4), {"a1_t": 0, "a3_t": 0, "head_w": 0}), images(2))
    net.cut("a1", [0, 7]).without("join0", "join2").cut("a1", [0]).cut("a3", [2]).cut("stem", [1, 4]).without("join1")
    net.cut("a3", [2, 3])
    assert survived(net, "q3", 1) == traced(net, "a3_t", 0) == [0, 1, 5, 6, 7]
    for stream in ("h0", "v3", "h4"):
        assert survived(net, stream, 1) == traced(net, "head_w", 0) == [0, 2, 3, 5]


def test_concatenation() -> None:
    """Counted behind one another."""
    proto = build(
        """(float[N,4] x) => (float[N,2] y) { [one] a = MatMul(x, w0) [two] b = MatMul(x, w1)
        [both] c = Concat<axis = 1>(a, b, a) [act] d = Tanh(c) [last] y = MatMul(d, w2) }""",
        {"w0": (4, 3), "w1": (4, 5), "w2": (11, 2)},
    )
    net = story(numbered(proto, {"w2": 0}), random_feeds(proto)).cut("two", [0, 3]).cut("one", [1]).cut("two", [0])
    assert survived(net, "d", 1) == traced(net, "w2", 0) == [0, 2, 5, 7, 8, 10]


@pytest.mark.parametrize("is_flat", [False, True])
def test_heads(is_flat: bool) -> None:
    shape = Shape(layers=2, kv_heads=2, is_flat=is_flat)
    proto = numbered(transformer(shape), {"wo1": 1 if is_flat else 0, "wdown0": 0})
    net = story(proto, tokens(shape)).cut("l1_q", [1]).cut("l0_up", [3, 8])
    assert survived(net, "mix1", 2) == traced(net, "wo1", 1 if is_flat else 0) == [*range(6)]
    assert survived(net, "hidden0", -1) == traced(net, "wdown0", 0)


def test_stream_without_a_type_stays_whole() -> None:
    net = story(residual_mlp(2), random_feeds(residual_mlp(2))).cut("first0", [3])
    assert survivors(net.steps, "no such tensor", 0, 4).tolist() == [0, 1, 2, 3]
