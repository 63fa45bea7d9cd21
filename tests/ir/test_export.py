"""The model as protobuf: its size without making it, what is worked out once, parts of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

from graphprune.analysis.dataflow import DataFlow
from graphprune.ir import export
from graphprune.ir.export import exported_bytes, extract, to_proto
from graphprune.ir.loading import load
from graphprune.rewrite.weights import set_values
from tests.graphs import build, random_feeds, residual_mlp, run
from tests.small_cnns import flattened, grouped


def wide(size: int) -> onnx.ModelProto:
    """One layer whose weights are of that size; the lengths in the file take more bytes as it grows."""
    text = f"(float[N,{size}] x) => (float[N,4] y) {{ y = MatMul(x, w) }}"
    return build(text, {"w": (size, 4)})


@pytest.mark.parametrize(
    "make",
    [
        flattened,
        grouped,
        lambda: residual_mlp(3, mask=True),
        *(lambda size=size: wide(size) for size in (1, 5, 63, 64, 65, 1000, 1024, 1100, 140_000)),
    ],
)
def test_the_size_is_that_of_the_protobuf(make: Callable[[], onnx.ModelProto]) -> None:
    model = load(make())
    assert exported_bytes(model) == to_proto(model).ByteSize()


def test_nodes_are_converted_once_for_each_model(monkeypatch: pytest.MonkeyPatch) -> None:
    converted: list[str] = []
    original = export.export_node

    def counted(node: gs.Node, old: Mapping[str, onnx.NodeProto]) -> onnx.NodeProto:
        converted.append(node.name)
        return original(node, old)

    monkeypatch.setattr(export, "export_node", counted)
    model = load(residual_mlp(3))
    names = [node.name for node in model.graph.nodes]
    for _ in range(2):
        to_proto(model)
        to_proto(model, with_weights=False)
        extract(model, names[:1], ["x"], [])
        exported_bytes(model)
    assert sorted(converted) == sorted(names)
    copy = model.copy()
    to_proto(copy)
    assert sorted(converted) == sorted(2 * names)
    assert copy.derived(DataFlow) is not model.derived(DataFlow)
    assert copy.derived(DataFlow) is copy.derived(DataFlow)


def test_new_weights_are_exported() -> None:
    """Only they may change in a model that has been exported."""
    proto = wide(300)
    model = load(proto)
    feeds = random_feeds(proto, 2)
    before = run(to_proto(model), feeds)[0]
    (node,) = model.graph.nodes
    set_values(model, node, 1, np.zeros((300, 4)))
    assert before.any()
    assert not run(to_proto(model), feeds)[0].any()
    assert not run(extract(model, [node.name], ["x"], ["y"]), feeds)[0].any()
