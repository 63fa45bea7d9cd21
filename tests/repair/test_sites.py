"""Which layers can make up for what is gone, where they end, and into which join they go."""

from __future__ import annotations

import numpy as np
import pytest

from graphprune.repair.sites import find_sites, left_alone
from graphprune.rewrite import remove_blocks
from tests.body_graphs import LOOP, looked_at
from tests.graphs import build, random_feeds, residual_mlp
from tests.repair.nets import resnet
from tests.repair.story import Story, images, story
from tests.small_cnns import flattened, grouped
from tests.token_graphs import Shape, tokens, transformer

IMAGES = images(2)


def mlp(blocks: int = 3) -> Story:
    proto = residual_mlp(blocks)
    return story(proto, random_feeds(proto))


def plain(text: str, weights: dict[str, tuple[int, ...] | np.ndarray]) -> Story:
    """Tokens (N, 4) in, between graphs in text."""
    proto = build(f"(float[N,4] x) => {text}", weights)
    return story(proto, random_feeds(proto))


@pytest.mark.parametrize(
    ("group", "sites"),
    [
        ("c1", ["dw", "c3", "fc1", "fc2"]),
        ("c3", ["fc1", "fc2"]),
        ("fc1", ["fc2"]),
    ],
)
def test_behind_a_cut(group: str, sites: list[str]) -> None:
    """The layer that was cut still computes what it did for the filters left; all that read it do not."""
    assert list(story(flattened(), IMAGES).cut(group, [1]).sites) == sites


def test_nothing_was_cut() -> None:
    assert story(flattened(), IMAGES).sites == {}


def test_behind_a_removed_block() -> None:
    assert list(mlp().without("join1").sites) == ["first2", "second2", "head"]
    assert list(mlp().without("join0").sites) == ["first1", "second1", "first2", "second2", "head"]
    assert list(mlp().without("join2").sites) == ["head"]


def test_behind_both() -> None:
    both = mlp().cut("first2", [0, 3]).without("join1")
    assert list(both.sites) == ["first2", "second2", "head"]
    assert list(mlp().cut("first0", [0]).sites) == ["second0", "first1", "second1", "first2", "second2", "head"]
    assert list(mlp().without("join2").cut("first1", [5]).sites) == ["second1", "head"]


def test_stream_narrowed() -> None:
    """All that reads it is refitted; the stem, cut in what it writes only, is not."""
    assert list(story(grouped(), IMAGES).cut("stem", [2, 6]).sites) == ["c1", "c2", "c3", "gc", "fc"]


def test_what_reads_the_stream_further_up_is_not_touched() -> None:
    """A skip over a removed block, and what is joined with its successor: neither has changed."""
    net = plain(
        """(float[N,3] y, float[N,5] z) { [stem] h0 = MatMul(x, w0) [side] s = MatMul(x, w1) [other] o = MatMul(s, w2)
        [first] p = MatMul(h0, w3) [act] q = Tanh(p) [second] r = MatMul(q, w4) [join] h1 = Add(h0, r)
        [early] e = Relu(h0) [skip] z = MatMul(e, w5) [both] b = Concat<axis = 1>(h1, s) [last] y = MatMul(b, w6)
        }""",
        {"w0": (4, 6), "w1": (4, 2), "w2": (2, 2), "w3": (6, 8), "w4": (8, 6), "w5": (6, 5), "w6": (8, 3)},
    )
    assert list(net.without("join").sites) == ["last"]


def test_a_name_that_passes_on_to_another_tensor() -> None:
    """Where a block's exit is an output, its entry takes over the name; who read it reads something else now."""
    net = plain(
        """(float[N,6] h2, float[N,3] y) { [stem] h0 = MatMul(x, w0)
        [first0] p0 = MatMul(h0, a0) [act0] q0 = Tanh(p0) [second0] r0 = MatMul(q0, b0) [join0] h1 = Add(h0, r0)
        [first1] p1 = MatMul(h1, a1) [act1] q1 = Tanh(p1) [second1] r1 = MatMul(q1, b1) [join1] h2 = Add(h1, r1)
        [last] y = MatMul(h2, w1) }""",
        {"w0": (4, 6), "a0": (6, 8), "b0": (8, 6), "a1": (6, 8), "b1": (8, 6), "w1": (6, 3)},
    ).without("join1")
    assert [node.name for node in net.small_proto.graph.node][-2:] == ["join0", "last"]
    assert [(site.reads, site.exit) for site in net.sites.values()] == [("h2", "y")]


def test_shared_weights_are_left_alone() -> None:
    """What would serve one of two layers would harm the other."""
    net = plain(
        """(float[N,4] y) { [first] a = MatMul(x, w0) [act] b = Tanh(a) [second] c = MatMul(b, w1) [act2] d = Tanh(c)
        [again] e = MatMul(d, w2) [act3] f = Tanh(e) [once] g = MatMul(f, w3) [more] y = MatMul(g, w2) }""",
        {"w0": (4, 6), "w1": (6, 4), "w2": (4, 4), "w3": (4, 4)},
    ).cut("first", [0])
    assert list(net.sites) == ["second", "once"]


def test_join_and_shortcut() -> None:
    """Named as in the pruned network; the shortcut is what stands in for the removed block."""
    sites = mlp().without("join1").sites
    assert {name: (site.join, site.shortcut) for name, site in sites.items()} == {
        "first2": ("", ""),
        "second2": ("h3", "h1"),
        "head": ("", ""),
    }
    sites = story(resnet(2), IMAGES).cut("a0", [1]).sites
    assert {name: (site.exit, site.join, site.shortcut) for name, site in sites.items()} == {
        "b0": ("u0", "v0", "h0"),
        "a1": ("q1", "", ""),
        "b1": ("u1", "v1", "h1"),
        "head": ("y", "", ""),
    }


@pytest.mark.parametrize("order", [1, -1])
def test_the_later_of_two_branches_has_the_join(order: int) -> None:
    """The other one is known by then; asked of the earlier, it would have to be computed before its own repair."""
    text = " ".join(["[main] a = MatMul(h, w1)", "[side] b = MatMul(h, w2)"][::order])
    net = plain(
        f"(float[N,3] y) {{ [stem] s = MatMul(x, w0) [act] h = Relu(s) {text} [join] y = Add(a, b) }}",
        {"w0": (4, 6), "w1": (6, 3), "w2": (6, 3)},
    ).cut("stem", [2])
    earlier, later = (node.name for node in net.small_proto.graph.node if node.name in ("main", "side"))
    assert (net.sites[earlier].join, net.sites[later].join) == ("", "y")
    assert net.sites[later].shortcut == net.sites[earlier].exit


@pytest.mark.parametrize(
    ("text", "exits"),
    [
        ("[second] y = MatMul(h, w1) [more] z = Add(y, b)", ("y", ())),  # an output of the network is not passed over
        ("[second] a = MatMul(h, w1) [more] y = Add(a, b) [more2] z = Mul(a, b)", ("a", ())),  # two readers
        ("[second] a = MatMul(h, w1) [more] y = Add(a, b) [more2] z = Mul(y, b)", ("y", ("more",))),
        (
            "[second] a = MatMul(h, w1) [more] c = Mul(b, a) [more2] z = Add(b, c) [e] y = Relu(z)",
            ("z", ("more", "more2")),
        ),
        ("[second] a = MatMul(h, w1) [more] y = Add(a, a) [e] z = Relu(x)", ("a", ())),
        ("[second] a = MatMul(h, w1) [more] y = Add(a, rows) [e] z = Relu(x)", ("a", ())),  # differs along the samples
    ],
)
def test_where_a_layer_ends(text: str, exits: tuple[str, tuple[str, ...]]) -> None:
    outputs = "(float[N,3] y, float[N,3] z)" if "Relu(x)" not in text else "(float[N,3] y, float[N,4] z)"
    proto = build(
        f"(float[2,4] x) => {outputs.replace('N', '2')} {{ [first] a0 = MatMul(x, w0) [act] h = Tanh(a0) {text} }}",
        {
            name: shape
            for name, shape in {"w0": (4, 6), "w1": (6, 3), "b": (3,), "rows": (2, 1)}.items()
            if f"{name})" in text or f"({name}," in text or name == "w0"
        },
    )
    site = story(proto, random_feeds(proto)).cut("first", [2]).sites["second"]
    assert (site.exit, site.chain) == exits
    assert (site.join, site.shortcut) == ("", "")


@pytest.mark.parametrize(
    ("attributes", "is_site"),
    [("", True), (', auto_pad = "SAME_UPPER"', False), (", output_shape = [6, 6]", False)],
)
def test_a_transposed_convolution_whose_padding_is_known(attributes: str, is_site: bool) -> None:
    proto = build(
        f"""(float[N,3,3,3] x) => (float[N,2,h,w] y) {{ [first] a = Conv(x, w0) [act] b = Relu(a)
        [up] y = ConvTranspose<strides = [2, 2]{attributes}>(b, w1) }}""",
        {"w0": (5, 3, 1, 1), "w1": (5, 2, 2, 2)},
    )
    assert ("up" in story(proto, random_feeds(proto)).cut("first", [1]).sites) == is_site


@pytest.mark.parametrize(
    ("second", "weights"),
    [
        ("[second] y = Gemm(h, w1, x3)", {}),  # a residual written as one Gemm: what is added is no constant
        ("[second] y = Gemm(h, w1, rows)", {"rows": (2, 3)}),
        ("[second] y = Gemm(h, w1, column)", {"column": (2, 1)}),
        ("[turn] t = Transpose<perm = [1, 0]>(h) [second] y = Gemm<transA = 1>(t, w1)", {}),
        ("[make] w = Mul(w1, k) [second] y = MatMul(h, w)", {"k": None}),
    ],
)
def test_what_is_no_matrix_is_no_site(second: str, weights: dict[str, tuple[int, ...] | None]) -> None:
    """Left alone, without a stumble."""
    proto = build(
        f"(float[2,4] x, float[2,3] x3, float k) => (float[2,3] y) {{ [first] a0 = MatMul(x, w0) [act] h = Tanh(a0) "
        f"{second} }}",
        {"w0": (4, 6), "w1": (6, 3)} | {name: shape for name, shape in weights.items() if shape},
    )
    feeds = random_feeds(proto) | {"k": np.array(1.5, np.float32)}
    whole = story(proto, feeds)
    whole.feeds = feeds
    assert whole.sites == {}
    sites = whole.cut("first", [1]) if any(group.is_prunable for group in whole.small.groups) else whole
    assert sites.sites == {}


def test_label_is_the_module() -> None:
    proto = flattened()
    for tensor in proto.graph.initializer:
        tensor.name = "net.head.weight" if tensor.name == "w5" else tensor.name
    proto.graph.node[-1].input[1] = "net.head.weight"
    sites = story(proto, IMAGES).cut("c3", [1]).sites
    assert {name: site.label for name, site in sites.items()} == {"fc1": "fc1", "fc2": "net.head"}


def test_heads_and_neurons() -> None:
    """Behind cut heads the output projection, into the stream; behind cut neurons the down projection."""
    shape = Shape(layers=2)
    net = story(transformer(shape), tokens(shape)).cut("l1_up", [0, 4])
    assert {name: (site.join, site.shortcut) for name, site in net.sites.items()} == {
        "l1_down": ("h2", "a1"),
        "head": ("", ""),
    }
    net = story(transformer(shape), tokens(shape)).cut("l1_q", [2])
    assert list(net.sites) == ["l1_o", "l1_up", "l1_gate", "l1_down", "head"]
    assert (net.sites["l1_o"].join, net.sites["l1_o"].shortcut) == ("a1", "h1")


def test_layers_in_bodies_are_left_and_named() -> None:
    """What reads the node that holds them is refitted: it gives other numbers now."""
    net = plain(
        """(float[N,4] y) { [first] a = MatMul(x, w0) [act] b = Tanh(a)
        s = ReduceSum<keepdims = 0>(b) c = Greater(s, zero)
        [choice] d = If(c) <
        then_branch = yes () => (float[N,6] t) { [up] h = MatMul(b, w1) r = Relu(h) [down] t = MatMul(r, w2) },
        else_branch = no () => (float[N,6] e) { e = Neg(b) }> [last] y = MatMul(d, w3) }""",
        {"w0": (4, 6), "w1": (6, 8), "w2": (8, 6), "w3": (6, 4), "zero": np.array(0, np.float32)},
    ).cut("up", [0, 3])
    assert list(net.sites) == ["last"]
    reason = "layers in the body of If are not refitted"
    assert left_alone(net.original.model, net.small.model) == [("up", reason), ("down", reason)]


def test_a_block_that_goes_in_a_body_changes_what_follows_it() -> None:
    analysis = looked_at(LOOP)
    blocks = [join.block for join in analysis.body_joins if join.block]
    small = remove_blocks(analysis.model, blocks[-1:])
    assert [site.node for site in find_sites(analysis.model, small, analysis.sizes)] == ["head"]
    assert find_sites(analysis.model, analysis.model, analysis.sizes) == []
