"""What a rewrite adds is called as nothing else is: whatever the file, or a tool that ran in between, calls things."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest

import graphprune
from graphprune import RecoveryOptions, RunOptions, TimingOptions
from graphprune.ir.export import to_proto
from tests.graphs import Arrays, build, initialisers, random_feeds
from tests.token_graphs import Shape, tokens, transformer

QUIET = RunOptions(batch=4, align=1, timing=TimingOptions(measure_latency=False), recovery=RecoveryOptions(repair=()))
PARTS = "ab"


def two_branches() -> onnx.ModelProto:
    """Two equal branches, each a Softmax over flattened maps between two convolutions."""
    lines: list[str] = []
    weights: dict[str, np.ndarray | Sequence[int]] = {}
    for p in PARTS:
        lines.append(
            f"[c{p}] {p}0 = Conv<pads = [1, 1, 1, 1]>(x, w{p}) [flat{p}] {p}1 = Reshape({p}0, s{p}) "
            f"{p}2 = Softmax<axis = -1>({p}1) [back{p}] {p}3 = Reshape({p}2, r{p}) [d{p}] {p}4 = Conv({p}3, v{p})"
        )
        weights |= {f"w{p}": (8, 3, 3, 3), f"v{p}": (4, 8, 1, 1)}
        weights |= {f"s{p}": np.array([1, 8, 36]), f"r{p}": np.array([1, 8, 6, 6])}
    return build(f"(float[1,3,6,6] x) => (float[1,4,6,6] y) {{ {' '.join(lines)} y = Add(a4, b4) }}", weights)


def merged(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Equal constants made one, as simplifiers do."""
    known: dict[bytes, str] = {}
    stand_in = {}
    for name, values in initialisers(proto).items():
        key = repr((values.dtype, values.shape)).encode() + values.tobytes()
        stand_in[name] = known.setdefault(key, name)
    for node in proto.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = stand_in.get(name, name)
    kept = [tensor for tensor in proto.graph.initializer if stand_in[tensor.name] == tensor.name]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    return proto


def renamed(proto: onnx.ModelProto, names: dict[str, str]) -> onnx.ModelProto:
    """With other names for tensors."""
    for tensor in proto.graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    for node in proto.graph.node:
        for operands in (node.input, node.output):
            operands[:] = [names.get(name, name) for name in operands]
    return proto


def cut(proto: onnx.ModelProto, data: Arrays, spec: str, target: str = "ratio=0.25") -> onnx.ModelProto:
    """Validated, or an exception."""
    result = graphprune.prune(proto, [spec], data, target, options=QUIET)
    assert result.validation is not None
    assert result.model is not None
    return to_proto(result.model)


def test_constants_merged_after_the_first_cut() -> None:
    proto = two_branches()
    data = {"x": random_feeds(proto)["x"].repeat(4, 0)}
    tied = merged(cut(proto, data, "filter-magnitude{scope=group}"))
    small = cut(tied, data, "filter-magnitude{include=ca*,floor=0}")
    sizes = {node.name: initialisers(small)[node.input[1]] for node in small.graph.node if node.op_type == "Reshape"}
    assert sizes["flata"][1] < sizes["flatb"][1]


@pytest.mark.parametrize(
    "names",
    [{"a0": "flata/size1", "a3": "flatb/size1", "b3": "backa/size1"}, {"wb": "flata/size1", "va": "backb/size1"}],
    ids=["computed", "constant"],
)
def test_names_that_the_file_holds_already(names: dict[str, str]) -> None:
    proto = renamed(two_branches(), names)
    cut(proto, {"x": random_feeds(proto)["x"].repeat(4, 0)}, "filter-magnitude")


def test_the_masks_of_the_oracle_have_names_of_their_own() -> None:
    names = {"a0": "da/keep0.1", "b0": "da/keep0.1/silent", "a2": "db/keep0.1", "b2": "db/keep0.1/silent"}
    proto = renamed(two_branches(), names)
    cut(proto, {"x": random_feeds(proto)["x"].repeat(4, 0)}, "filter-magnitude")


@pytest.mark.parametrize("inner", ["r/silent", "r/zero"])
def test_the_zeros_of_the_oracle_have_names_of_their_own(inner: str) -> None:
    text = "[up] q = MatMul(h, a) [down] r = MatMul(q, b) [join] g = Add(h, r) [head] y = MatMul(g, v)"
    weights = {"w": (4, 8), "a": (8, 8), "b": (8, 8), "v": (8, 2)}
    proto = build(f"(float[N,4] x) => (float[N,2] y) {{ [stem] h = MatMul(x, w) {text} }}", weights)
    cut(renamed(proto, {"h": inner}), random_feeds(proto, batch=4), "layer-cka{floor=0,skip_first=false}", "removed=1")


def test_a_list_of_sizes_keeps_its_name_over_rounds() -> None:
    proto = two_branches()
    data = {"x": random_feeds(proto)["x"].repeat(4, 0)}
    for _ in range(3):
        proto = cut(proto, data, "filter-magnitude{floor=0}", "removed=2")
        sizes = {node.input[1] for node in proto.graph.node if node.op_type == "Reshape"}
        assert sizes <= {f"{node}{p}/size1" for node in ("flat", "back") for p in PARTS} | {"sa", "sb", "ra", "rb"}


@pytest.mark.parametrize("tool", ["merge", "onnxslim", "onnxsim"])
def test_ten_rounds_with_a_simplifier_between(tool: str, tmp_path: Path) -> None:
    shape = Shape(layers=2, heads=8, kv_heads=8, neurons=24)
    proto, data = transformer(shape), tokens(shape, samples=8)
    before = sum(values.size for values in initialisers(proto).values())
    for round_ in range(10):
        pass_ = ("neuron-projection", "head-projection")[round_ % 5 == 4]
        proto = cut(proto, data, f"{pass_}{{floor=0}}", "removed=2")
        onnx.checker.check_model(proto, full_check=True)
        if tool == "merge":
            proto = merged(proto)
        elif tool == "onnxslim":
            proto = pytest.importorskip("onnxslim", reason="it makes the file").slim(proto)
        else:
            proto, _ = pytest.importorskip("onnxsim", reason="it makes the file").simplify(proto)
    gone = 16 * shape.neuron_params + 4 * shape.head_params
    assert before - sum(v.size for v in initialisers(proto).values() if v.dtype == np.float32) >= gone
