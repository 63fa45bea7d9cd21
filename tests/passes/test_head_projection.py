"""``head-projection``: what each head adds to the stream, by a loop over prompts, tokens and heads."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphprune.errors import NothingToPrune
from tests.graphs import build, initialisers
from tests.passes.asking import Arrays, counts, decided, inner, pruned, removed, scores
from tests.small_cnns import flattened
from tests.token_graphs import Shape, tokens, transformer

HALF = "head-projection{ratio=0.5,scope=group}"


def by_loop(proto: onnx.ModelProto, feeds: Arrays, shape: Shape, layer: int = 0) -> np.ndarray:
    """(heads,): every prompt counts once, whatever its length; tokens that the mask hides do not count."""
    (mixed,) = inner(proto, feeds, f"mix{layer}")
    weight = initialisers(proto)[f"wo{layer}"]
    weight = weight.T if shape.is_flat else weight
    mask = feeds.get("attention_mask", np.ones(mixed.shape[:2]))
    result = np.zeros(shape.heads)
    for head in range(shape.heads):
        own = slice(head * shape.depth, (head + 1) * shape.depth)
        prompts = []
        for prompt in range(len(mixed)):
            sizes = [
                float(np.abs(mixed[prompt, token, own] @ weight[own]).sum())
                for token in range(mixed.shape[1])
                if mask[prompt, token]
            ]
            prompts.append(np.mean(sizes))
        result[head] = np.mean(prompts)
    return result


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("is_flat", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
def test_scores_are_those_of_the_loop(mask: bool, is_flat: bool, layers: int) -> None:
    shape = Shape(
        layers=layers, mask=mask, is_flat=is_flat, heads=4 if layers == 1 else 3, kv_heads=4 if layers == 1 else 3
    )
    proto, feeds = transformer(shape), tokens(shape)
    result = pruned(proto, HALF, feeds)
    assert list(counts(result)) == [f"l{layer}_q/heads" for layer in range(layers)]
    for layer in range(layers):
        expected = by_loop(proto, feeds, shape, layer)
        name = f"l{layer}_q/heads"
        np.testing.assert_allclose(scores(result)[name], expected, rtol=1e-5)
        assert removed(result)[name] == sorted(np.argsort(expected)[: counts(result)[name]])


def louder(proto: onnx.ModelProto, weight: str, factor: float) -> onnx.ModelProto:
    """A copy with one weight multiplied."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for tensor in copy.graph.initializer:
        if tensor.name == weight:
            tensor.CopyFrom(
                onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * np.float32(factor), weight)
            )
    return copy


def test_a_loud_layer_is_no_better_than_a_quiet_one() -> None:
    """Heads of all layers are compared by their share of the layer's mean."""
    shape = Shape(layers=2)
    proto = louder(transformer(shape), "wo1", 1000.0)
    found = decided(proto, "head-projection{ratio=0.3}", tokens(shape))
    assert [np.mean(values) for values in scores(found).values()] == pytest.approx([1.0] * len(scores(found)))
    whole = scores(decided(proto, "head-projection{scope=group,ratio=0.5}", tokens(shape)))
    shares = {name: values / values.mean() for name, values in whole.items()}
    first = min(shares, key=lambda name: shares[name].min())
    assert int(np.argmin(shares[first])) in removed(found)[first]


def test_a_masked_token_counts_in_nothing() -> None:
    """Fifty times louder noise after the end of a prompt would change every score."""
    shape = Shape(mask=True)
    proto, feeds = transformer(shape), tokens(shape)
    quiet = {**feeds, "x": np.where(feeds["attention_mask"][..., None] == 1, feeds["x"], 0).astype(np.float32)}
    one, other = (scores(decided(proto, HALF, data))["l0_q/heads"] for data in (feeds, quiet))
    np.testing.assert_allclose(one, other, rtol=1e-5)
    everything = {**feeds, "attention_mask": np.ones_like(feeds["attention_mask"])}
    assert np.abs(scores(decided(proto, HALF, everything))["l0_q/heads"] / one - 1).min() > 0.5


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_shared_keys_get_the_mean_of_their_queries(kv_heads: int) -> None:
    """With one key and value for all, the queries are heads of their own."""
    shape = Shape(heads=8, kv_heads=kv_heads, mask=True)
    proto, feeds = transformer(shape), tokens(shape)
    single = by_loop(proto, feeds, shape)
    expected = single if kv_heads == 1 else single.reshape(kv_heads, -1).mean(1)
    result = pruned(proto, HALF, feeds)
    name = "l0_q/heads" if kv_heads == 1 else "l0_q/kv-heads"
    np.testing.assert_allclose(scores(result)[name], expected, rtol=1e-5)
    assert counts(result) == {name: len(expected) // 2}


def test_batch_size_does_not_matter() -> None:
    shape = Shape(mask=True)
    proto, feeds = transformer(shape), tokens(shape, samples=7)
    one, other = (decided(proto, HALF, feeds, batch=batch) for batch in (1, 7))
    np.testing.assert_allclose(scores(one)["l0_q/heads"], scores(other)["l0_q/heads"], rtol=1e-6)


def test_output_projection_shared_with_the_mlp() -> None:
    """A parallel block: one layer reads the neurons and, behind them, the heads; each is scored by its own part."""
    shape = Shape()
    proto = transformer(shape)
    nodes = {node.name: node for node in proto.graph.node}
    nodes["l0_up"].input[0] = nodes["l0_gate"].input[0] = "x"
    for name in ("l0_down", "l0_added", "l0_o", "l0_attended"):
        proto.graph.node.remove(nodes[name])
    weights = initialisers(proto)
    both = onnx.numpy_helper.from_array(np.concatenate([weights["wdown0"], weights["wo0"]]), "w_both")
    proto.graph.initializer.append(both)
    for name in ("wo0", "wdown0"):
        proto.graph.initializer.remove(next(each for each in proto.graph.initializer if each.name == name))
    late = [nodes[name] for name in ("pool", "head")]
    make = onnx.helper.make_node
    joined = [
        make("Concat", ["hidden0", "mix0"], ["both"], "join_both", axis=2),
        make("MatMul", ["both", "w_both"], ["o0"], "l0_both"),
        make("Add", ["x", "o0"], ["h1"], "l0_out"),
    ]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in late]
    for node in late:
        proto.graph.node.remove(node)
    proto.graph.node.extend([*joined, *copies])
    feeds = tokens(shape)
    (mixed, hidden) = inner(proto, feeds, "mix0", "hidden0")
    heads = [np.abs(mixed[..., 3 * h : 3 * h + 3] @ weights["wo0"][3 * h : 3 * h + 3]).sum(-1).mean() for h in range(4)]
    np.testing.assert_allclose(scores(pruned(proto, HALF, feeds))["l0_q/heads"], heads, rtol=1e-5)
    neurons = scores(pruned(proto, "neuron-projection{ratio=0.5}", feeds))["l0_up/neurons"]
    np.testing.assert_allclose(neurons, np.abs(hidden).mean((0, 1)), rtol=1e-5)


def test_nothing_reads_the_heads() -> None:
    """The mixed heads leave through a mean, so there is no weight to project on."""
    proto = build(
        """(float[N,S,8] x) => (float[N,S,S] y) {
        [q] q0 = MatMul(x, wq) [q_split] q1 = Reshape(q0, heads) [q_turn] q2 = Transpose<perm = [0, 2, 1, 3]>(q1)
        [k] k0 = MatMul(x, wk) [k_split] k1 = Reshape(k0, heads) [k_turn] k2 = Transpose<perm = [0, 2, 3, 1]>(k1)
        [qk] p = MatMul(q2, k2) [soft] s = Softmax(p) [sum] y = ReduceSum<keepdims = 0>(s, axes) }""",
        {"wq": (8, 12), "wk": (8, 12), "heads": np.array([0, 0, 4, 3]), "axes": np.array([1])},
    )
    with pytest.raises(NothingToPrune, match="q/heads: no layer with constant weights reads them as one axis"):
        decided(proto, HALF, tokens(Shape()))


def test_heads_and_their_depth_summed_apart() -> None:
    """An Einsum that sums over heads and depth as two axes is not understood, and says so."""
    proto = build(
        """(float[N,S,8] x) => (float[N,S,8] y) { [q] q0 = Einsum<equation = "bsw,whd->bhsd">(x, wq)
        [k] k0 = Einsum<equation = "bsw,whd->bhds">(x, wk) [v] v0 = Einsum<equation = "bsw,whd->bhsd">(x, wv)
        [qk] s = MatMul(q0, k0) [soft] p = Softmax(s) [av] a = MatMul(p, v0)
        [o] y = Einsum<equation = "bhsd,hdw->bsw">(a, wo) }""",
        {"wq": (8, 4, 3), "wk": (8, 4, 3), "wv": (8, 4, 3), "wo": (4, 3, 8)},
    )
    with pytest.raises(NothingToPrune, match="q/heads: no layer with constant weights reads them as one axis"):
        decided(proto, HALF, tokens(Shape()))


def test_no_heads_at_all() -> None:
    with pytest.raises(
        NothingToPrune, match="pass head-projection finds no heads or kv-heads to prune: there are none"
    ):
        decided(flattened(), HALF, None)
