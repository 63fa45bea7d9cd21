"""Groups of small graphs: what they are called, what their units are, who writes and reads them,
why some cannot shrink.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import pytest

from graphprune.analysis.groups import Group, find_groups
from graphprune.axes.infer import infer
from graphprune.ir.loading import load
from tests.graphs import build

Weights = Mapping[str, Sequence[int] | np.ndarray]


@dataclass(frozen=True)
class Case:
    """Nodes from ``x`` to ``y``, and the groups they have: name, size, and the reason if they cannot shrink."""

    nodes: str
    weights: Weights
    expected: Sequence[tuple[str, int, str]]
    ends: tuple[str, str] = ("float[N,3,8,8] x", "float[N,5] y")


IMAGE_END = "g = GlobalAveragePool(f) v = Flatten(g) y = MatMul(v, head.weight)"
OUTPUT = ("head/neurons", 5, "it is an axis of a model output")
TEXT = ("float[N,T,12] x", "float[N,T,5] y")

HEADS = """
    [q] q = MatMul(x, l.attn.q.weight) [k] k = MatMul(x, l.attn.k.weight) [v] v = MatMul(x, l.attn.v.weight)
    q4 = Reshape(q, split) k4 = Reshape(k, split) v4 = Reshape(v, split)
    qt = Transpose<perm=[0,2,1,3]>(q4) kt = Transpose<perm=[0,2,3,1]>(k4) vt = Transpose<perm=[0,2,1,3]>(v4)
    s = MatMul(qt, kt) p = Softmax<axis=-1>(s) c = MatMul(p, vt)
    ct = Transpose<perm=[0,2,1,3]>(c) o = Reshape(ct, join) y = MatMul(o, head.weight)
"""
GROUPED_HEADS = """
    [q] q = MatMul(x, l.attn.q.weight) [k] k = MatMul(x, l.attn.k.weight) [v] v = MatMul(x, l.attn.v.weight)
    q5 = Reshape(q, split_q) k5 = Reshape(k, split_kv) v5 = Reshape(v, split_kv)
    qt = Transpose<perm=[0,2,3,1,4]>(q5) kt = Transpose<perm=[0,2,3,4,1]>(k5) vt = Transpose<perm=[0,2,3,1,4]>(v5)
    s = MatMul(qt, kt) p = Softmax<axis=-1>(s) c = MatMul(p, vt)
    ct = Transpose<perm=[0,3,1,2,4]>(c) o = Reshape(ct, join) y = MatMul(o, head.weight)
"""
ATTENTION: Weights = {
    "l.attn.q.weight": (12, 32),
    "l.attn.k.weight": (12, 32),
    "l.attn.v.weight": (12, 32),
    "head.weight": (32, 5),
    "split": np.array([0, 0, 4, 8]),
    "join": np.array([0, 0, 32]),
}
GROUPED: Weights = {
    "l.attn.q.weight": (12, 48),
    "l.attn.k.weight": (12, 16),
    "l.attn.v.weight": (12, 16),
    "head.weight": (48, 5),
    "split_q": np.array([0, 0, 2, 3, 8]),
    "split_kv": np.array([0, 0, 2, 1, 8]),
    "join": np.array([0, 0, 48]),
}

CASES = {
    "filters": Case(
        f"a = Conv(x, c1.weight) f = Relu(a) {IMAGE_END}",
        {"c1.weight": (6, 3, 3, 3), "head.weight": (6, 5)},
        [("c1/filters", 6, ""), OUTPUT],
    ),
    "frozen filters": Case(
        f"a = Conv(x, c1.weight) f = Softmax<axis=1>(a) {IMAGE_END}",
        {"c1.weight": (6, 3, 3, 3), "head.weight": (6, 5)},
        [("c1/filters", 6, "Softmax runs over it"), OUTPUT],
    ),
    "depthwise": Case(  # both layers write the same filters: the name is what theirs have in common
        f"a = Conv(x, b.expand.weight) f = Conv<group=6>(a, b.depth.weight) {IMAGE_END}",
        {"b.expand.weight": (6, 3, 1, 1), "b.depth.weight": (6, 1, 3, 3), "head.weight": (6, 5)},
        [("b/filters", 6, ""), OUTPUT],
    ),
    "grouped": Case(
        f"a = Conv(x, b.expand.weight) f = Conv<group=2>(a, b.grouped.weight) {IMAGE_END}",
        {"b.expand.weight": (8, 3, 1, 1), "b.grouped.weight": (6, 4, 3, 3), "head.weight": (6, 5)},
        [("b/conv-groups", 2, ""), ("b.expand/filters", 4, ""), ("b.grouped/filters", 3, ""), OUTPUT],
    ),
    "residual": Case(
        f"h = Conv(x, s.stem.weight) a = Conv<pads=[1,1,1,1]>(h, s.c1.weight) "
        f"b = Conv<pads=[1,1,1,1]>(a, s.c2.weight) f = Add(h, b) {IMAGE_END}",
        {
            "s.stem.weight": (6, 3, 1, 1),
            "s.c1.weight": (4, 6, 3, 3),
            "s.c2.weight": (6, 4, 3, 3),
            "head.weight": (6, 5),
        },
        [("s/width", 6, ""), ("s.c1/filters", 4, ""), OUTPUT],
    ),
    "neurons": Case(
        "a = MatMul(x, mlp.up.weight) b = Relu(a) y = MatMul(b, head.weight)",
        {"mlp.up.weight": (12, 7), "head.weight": (7, 5)},
        [("mlp.up/neurons", 7, ""), OUTPUT],
        TEXT,
    ),
    "frozen neurons": Case(
        "a = MatMul(x, mlp.up.weight) b = ReduceMean<axes=[-1],keepdims=1>(a) c = Sub(a, b) y = MatMul(c, head.weight)",
        {"mlp.up.weight": (12, 7), "head.weight": (7, 5)},
        [("mlp.up/neurons", 7, "ReduceMean runs over it"), OUTPUT],
        TEXT,
    ),
    "gated neurons": Case(
        "a = MatMul(x, mlp.up.weight) b = MatMul(x, mlp.gate.weight) c = Sigmoid(b) d = Mul(a, c) y = MatMul(d, "
        "head.weight)",
        {"mlp.up.weight": (12, 7), "mlp.gate.weight": (12, 7), "head.weight": (7, 5)},
        [("mlp/neurons", 7, ""), OUTPUT],
        TEXT,
    ),
    "heads": Case(
        HEADS,
        ATTENTION,
        [("l.attn/heads", 4, ""), ("l.attn/head-dim", 8, ""), ("l.attn.v/head-dim", 8, ""), OUTPUT],
        TEXT,
    ),
    "frozen heads": Case(  # one head looks at the others
        HEADS.replace("p = Softmax<axis=-1>(s)", "p = Softmax<axis=1>(s)"),
        ATTENTION,
        [("l.attn/heads", 4, "Softmax runs over it"), ("l.attn/head-dim", 8, ""), ("l.attn.v/head-dim", 8, ""), OUTPUT],
        TEXT,
    ),
    "heads by Einsum": Case(
        HEADS.replace("kt = Transpose<perm=[0,2,3,1]>(k4)", "kt = Transpose<perm=[0,2,1,3]>(k4)")
        .replace("s = MatMul(qt, kt)", 's = Einsum<equation="bhqd,bhkd->bhqk">(qt, kt)')
        .replace("c = MatMul(p, vt)", 'c = Einsum<equation="bhqk,bhkd->bhqd">(p, vt)'),
        ATTENTION,
        [("l.attn/heads", 4, ""), ("l.attn/head-dim", 8, ""), ("l.attn.v/head-dim", 8, ""), OUTPUT],
        TEXT,
    ),
    "frozen head-dim": Case(
        HEADS.replace(
            "qt = Transpose<perm=[0,2,1,3]>(q4)", "qs = Softmax<axis=3>(q4) qt = Transpose<perm=[0,2,1,3]>(qs)"
        ),
        ATTENTION,
        [("l.attn/heads", 4, ""), ("l.attn/head-dim", 8, "Softmax runs over it"), ("l.attn.v/head-dim", 8, ""), OUTPUT],
        TEXT,
    ),
    "heads in groups": Case(
        GROUPED_HEADS,
        GROUPED,
        [
            ("l.attn/kv-heads", 2, ""),
            ("l.attn.q/query-heads", 3, ""),
            ("l.attn/head-dim", 8, ""),
            ("l.attn.v/head-dim", 8, ""),
            OUTPUT,
        ],
        TEXT,
    ),
    "one product is no attention": Case(  # over the channels of an image: no heads, so their depth is no head's
        "c = Conv(x, b.theta.weight) d = Conv(x, b.phi.weight) e = Reshape(c, rows) z = Reshape(d, rows) t = "
        "Transpose<perm=[0,2,1]>(e) "
        "s = MatMul(t, z) p = Softmax<axis=-1>(s) y = ReduceMax<axes=[1,2],keepdims=0>(p)",
        {"b.theta.weight": (6, 3, 1, 1), "b.phi.weight": (6, 3, 1, 1), "rows": np.array([0, 6, -1])},
        [("b/filters", 6, "")],
        ("float[N,3,8,8] x", "float[N] y"),
    ),
}


def parse(ends: tuple[str, str], nodes: str, weights: Weights) -> onnx.ModelProto:
    """As :func:`build`, for weights with dots in their names, which ONNX text does not allow."""
    proto = build(f"({ends[0]}) => ({ends[1]}) {{ {re.sub(r'(?<=[a-z0-9])[.](?=[a-z])', '__', nodes)} }}", weights)
    for node in proto.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = name.replace("__", ".")
    return proto


def groups_of(proto: onnx.ModelProto) -> list[Group]:
    model = load(proto)
    return find_groups(model, infer(model))


@pytest.mark.parametrize("name", CASES)
def test_kinds_names_and_reasons(name: str) -> None:
    case = CASES[name]
    found = groups_of(parse(case.ends, case.nodes, case.weights))
    assert [(g.name, g.size, g.freeze.reason if g.freeze else "") for g in found] == list(case.expected)
    assert [group.is_prunable for group in found] == [not reason for *_, reason in case.expected]


def test_writers_readers_and_the_node_of_the_reason() -> None:
    case = CASES["heads"]
    nodes = case.nodes.replace("p = Softmax<axis=-1>(s)", "[mix] p = Softmax<axis=1>(s)").replace(" y =", " [out] y =")
    found = groups_of(parse(case.ends, nodes, case.weights))
    heads, depth, *_ = found
    assert (heads.writers, heads.readers) == (("q", "k", "v"), ("out",))
    assert heads.freeze is not None
    assert heads.freeze.node == "mix"
    assert (depth.writers, depth.readers) == (("q", "k"), ())
    assert {(use.node, use.operand, use.axis) for use in heads.uses} == {
        ("q", 1, 1),
        ("k", 1, 1),
        ("v", 1, 1),
        ("out", 1, 0),
    }


def test_how_many_channels_a_unit_is() -> None:
    """One of a filter, the depth of a head, and where each stage multiplies the channels all of the first one."""
    down = "a = Conv<group=4>(x, d1.weight) b = Conv<group=8>(a, d2.weight) [mix] f = Conv(b, m.weight)"
    weights: Weights = {
        "d1.weight": (8, 1, 2, 2),
        "d2.weight": (16, 1, 2, 2),
        "m.weight": (6, 16, 1, 1),
        "head.weight": (6, 5),
    }
    stages = groups_of(parse(("float[N,4,8,8] x", "float[N,5] y"), f"{down} {IMAGE_END}", weights))
    heads = groups_of(parse(TEXT, HEADS, ATTENTION))
    assert {g.name: g.unit_channels for g in stages} == {
        "d1/filters.1": 4,
        "d1/filters.2": 8,
        "d2/filters": 8,
        "m/filters": 1,
        "head/neurons": 1,
    }
    assert {g.name: g.unit_channels for g in heads} == {
        "l.attn/heads": 8,
        "l.attn/head-dim": 4,
        "l.attn.v/head-dim": 4,
        "head/neurons": 1,
    }


def chain(names: Sequence[str], weights: Sequence[str]) -> list[str]:
    """Group names of two dense layers whose nodes and weights have these names."""
    nodes = f"[{names[0]}] a = MatMul(x, {weights[0]}) b = Relu(a) [{names[1]}] y = MatMul(b, {weights[1]})"
    proto = build(f"(float[N,4] x) => (float[N,5] y) {{ {nodes} }}", {weights[0]: (4, 6), weights[1]: (6, 5)})
    return [group.name for group in groups_of(proto)]


def test_names_where_there_is_no_path() -> None:
    assert chain(["dense_1", "dense_2"], ["w1", "w2"]) == ["dense_1/neurons", "dense_2/neurons"]


def path_names(paths: Sequence[str]) -> list[str]:
    """Group names of a stem and some blocks that add into it, whose nodes have these names and weights have none."""
    nodes = [onnx.helper.make_node("MatMul", ["x", "w"], ["h0"], paths[0])]
    weights = {"w": (4, 4)}
    for i, (up, down) in enumerate(zip(paths[1::2], paths[2::2], strict=True)):
        weights |= {f"u{i}": (4, 6), f"d{i}": (6, 4)}
        nodes += [
            onnx.helper.make_node("MatMul", [f"h{i}", f"u{i}"], [f"a{i}"], up),
            onnx.helper.make_node("Relu", [f"a{i}"], [f"r{i}"], f"relu{i}"),
            onnx.helper.make_node("MatMul", [f"r{i}", f"d{i}"], [f"b{i}"], down),
            onnx.helper.make_node("Add", [f"h{i}", f"b{i}"], [f"h{i + 1}"], f"join{i}"),
        ]
    proto = build("(float[N,4] x) => (float[N,4] y) { y = Tanh(x) }", weights)
    last = f"h{len(paths) // 2}"
    proto.graph.node[0].input[0] = last
    for position, node in enumerate(nodes):
        proto.graph.node.insert(position, node)
    return [group.name for group in groups_of(proto)]


def test_torchscript_paths_become_module_paths() -> None:
    assert path_names(["/net/stem/MatMul", "/net/layer1/layer1.0/up/MatMul", "/net/layer1/layer1.0/down/MatMul"]) == [
        "net/width",
        "net.layer1.0.up/neurons",
    ]


def test_groups_that_would_share_a_name_take_that_of_their_first_layer() -> None:
    up, down = "/net/up/MatMul", "/net/down/MatMul"
    names = path_names(["/net/stem/MatMul", up, down, f"{up}_1", f"{down}_1"])
    assert names == ["net/width", "net.up/neurons.1", "net.up/neurons.2"]
    case = CASES["residual"]
    twice = case.nodes.replace(
        "g = Glob",
        "h2 = Conv(f, s.down.weight) a2 = Conv(h2, s.c3.weight) b2 = Conv(a2, s.c4.weight) f2 = Add(h2, b2) g = Glob",
    ).replace("AveragePool(f)", "AveragePool(f2)")
    weights = {**case.weights, "s.down.weight": (6, 6, 1, 1), "s.c3.weight": (4, 6, 1, 1), "s.c4.weight": (6, 4, 1, 1)}
    found = groups_of(parse(case.ends, twice, weights))
    assert [group.name for group in found][:3] == ["s.stem/width", "s.c1/filters", "s.down/width"]


def test_a_tied_embedding_is_named_after_its_module() -> None:
    nodes = """
        e = Gather(m.head.weight, x) a = MatMul(e, up) b = Relu(a) c = MatMul(b, down)
        t = Transpose<perm=[1,0]>(m.head.weight) y = MatMul(c, t)
    """
    weights = {"m.head.weight": (5, 4), "up": (4, 6), "down": (6, 4)}
    proto = parse(("int64[N,T] x", "float[N,T,5] y"), nodes, weights)
    for index, name in ((0, "/m/embed/Gather"), (1, "/m/up/MatMul"), (3, "/m/down/MatMul")):
        proto.graph.node[index].name = name
    assert groups_of(proto)[0].name == "m.embed/neurons"
