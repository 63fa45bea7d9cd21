"""Attention as one operator, and decoders with a cache: as in ONNX Runtime, backwards, too, and back to the file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

pytest.importorskip("torch", reason="the bridge leads to torch")

import torch

from graphprune.data.dataset import input_specs
from graphprune.decoder.interface import decoder_interface
from graphprune.decoder.steps import next_step, prefill
from graphprune.errors import ModelError
from graphprune.ir.loading import load
from graphprune.ir.model import Model
from graphprune.torch_bridge import to_torch
from graphprune.torch_bridge.functions.attention import mixed
from tests.decoder_graphs import Sizes, few_bits, fused_decoder, plain_decoder
from tests.torch_bridge.checks import check, outputs_of_file, outputs_of_module, worst
from tests.torch_bridge.graphs import draw

CONTRIB, FLOAT, INT = "com.microsoft", np.float32, np.int64
TOLERANCE = 1e-5
SMALL = Sizes(layers=2)
IDS: np.ndarray = np.random.default_rng(3).integers(0, SMALL.vocabulary, (2, 7))
ANGLES = np.arange(20)[:, None] * 0.5 ** np.arange(8)
COS16, SIN16 = np.cos(ANGLES).astype(FLOAT), np.sin(ANGLES).astype(FLOAT)  # of heads of 16
COS: np.ndarray = COS16[:, :4]
SIN: np.ndarray = SIN16[:, :4]


def model_of(
    op: str,
    feed: dict[str, np.ndarray],
    outputs: int = 1,
    domain: str = "",
    weights: dict[str, Any] | None = None,
    **given: Any,
) -> Model:
    """One operator whose inputs are ``feed`` and ``weights`` in that order; a name that begins with _ is left out."""
    weights = weights or {}
    names = ["" if name.startswith("_") else name for name in (*feed, *weights)]
    written = [f"y{i}" for i in range(outputs)]
    helper = onnx.helper
    values = [
        helper.make_tensor_value_info(
            name,
            helper.np_dtype_to_tensor_dtype(array.dtype),
            [None] * array.ndim if name.startswith("past") else array.shape,
        )
        for name, array in feed.items()
        if not name.startswith("_")
    ]
    graph = helper.make_graph(
        [helper.make_node(op, names, written, "it", domain=domain, **given)],
        "one",
        values,
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in written],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items() if not name.startswith("_")],
    )
    opsets = [helper.make_opsetid("", 23), helper.make_opsetid(CONTRIB, 1)]
    return load(helper.make_model(graph, opset_imports=opsets, ir_version=10))


def difference(model: Model, feed: dict[str, np.ndarray]) -> float:
    given = {name: array for name, array in feed.items() if not name.startswith("_")}
    with torch.no_grad():
        return worst(outputs_of_file(model, given), outputs_of_module(to_torch(model), model, given))


def qkv(samples: int = 2, length: int = 5, depth: int = 8, heads: int = 4, kv: int = 2) -> dict[str, np.ndarray]:
    return {
        "q": draw(samples, length, heads * depth),
        "k": draw(samples, length, kv * depth, seed=1),
        "v": draw(samples, length, kv * depth, seed=2),
    }


def past(samples: int, length: int, kv: int = 2, depth: int = 8) -> dict[str, np.ndarray]:
    return {"past_k": draw(samples, kv, length, depth), "past_v": draw(samples, kv, length, depth, seed=1)}


LENGTHS = {"last": np.full(2, 4, np.int32), "total": np.array(5, np.int32)}
TABLES = {"cos": COS16, "sin": SIN16}
BIAS = {"bias": draw(2, 4, 5, 5)}
GROUPED: dict[str, tuple[dict[str, np.ndarray], dict[str, Any]]] = {
    "turned": (TABLES, {"do_rotary": 1}),
    "neighbours turned": (TABLES, {"do_rotary": 1, "rotary_interleaved": 1}),
    "scaled": ({}, {"scale": 0.7}),
    "capped": ({}, {"softcap": 0.5}),
    "window": ({}, {"local_window_size": 2}),
    "bias": ({"_cos": COS, "_sin": SIN, "_places": IDS} | BIAS, {}),
    "bias, capped": ({"_cos": COS, "_sin": SIN, "_places": IDS} | BIAS, {"softcap": 2.0}),
    "sink": ({"_cos": COS, "_sin": SIN, "_places": IDS, "_bias": COS, "sink": draw(4)}, {}),
}


@pytest.mark.parametrize("name", GROUPED)
def test_grouped_queries(name: str) -> None:
    more, given = GROUPED[name]
    feed = qkv(depth=16) | past(2, 0, depth=16) | LENGTHS | more
    model = model_of("GroupQueryAttention", feed, 3, CONTRIB, num_heads=4, kv_num_heads=2, **given)
    assert difference(model, feed) < TOLERANCE


def test_grouped_queries_of_which_a_part_is_turned() -> None:
    feed = qkv(depth=32) | past(2, 0, depth=32) | LENGTHS | TABLES
    model = model_of("GroupQueryAttention", feed, 3, CONTRIB, num_heads=4, kv_num_heads=2, do_rotary=1)
    assert difference(model, feed) < TOLERANCE


@pytest.mark.parametrize("length", [1, 3])
def test_grouped_queries_behind_a_past(length: int) -> None:
    """One token of two samples, the second shorter by its padding; three of one."""
    samples = 2 if length == 1 else 1
    ends = {"last": np.array([6, 4][:samples], np.int32) + length - 1, "total": np.array(6 + length, np.int32)}
    feed = qkv(samples, length, depth=16) | past(samples, 6, depth=16) | ends | TABLES
    model = model_of("GroupQueryAttention", feed, 3, CONTRIB, num_heads=4, kv_num_heads=2, do_rotary=1)
    module = to_torch(model)
    expected, found = outputs_of_file(model, feed), outputs_of_module(module, model, feed)
    assert worst(expected[:1], found[:1]) < TOLERANCE
    for place in range(2):  # behind the end of a sample lies what nobody reads
        for sample, end in enumerate(ends["last"]):
            assert (
                worst([expected[1 + place][sample, :, : end + 1]], [found[1 + place][sample, :, : end + 1]]) < TOLERANCE
            )


MASK: np.ndarray = (draw(5, 5) > 0) | np.eye(5, dtype=bool)
STANDARD: dict[str, tuple[dict[str, np.ndarray], dict[str, Any]]] = {
    "plain": ({}, {}),
    "causal": ({}, {"is_causal": 1}),
    "scaled and capped": ({}, {"scale": 0.3, "softcap": 1.5}),
    "capped, causal": ({}, {"softcap": 1.5, "is_causal": 1}),
    "seen": ({"mask": MASK}, {}),
    "seen, capped": ({"mask": MASK}, {"softcap": 1.5}),
    "seen, causal": ({"mask": MASK}, {"is_causal": 1}),
    "added": ({"mask": draw(2, 1, 5, 5)}, {}),
    "added, causal": ({"mask": draw(2, 1, 5, 5)}, {"is_causal": 1}),
    "past": ({"mask": draw(5, 8)} | past(2, 3), {}),
    "past, causal": ({"_mask": MASK} | past(2, 3), {"is_causal": 1}),
}


@pytest.mark.parametrize("name", STANDARD)
def test_attention_of_the_standard(name: str) -> None:
    more, given = STANDARD[name]
    feed = qkv() | more
    outputs = 3 if "past_k" in feed else 1
    model = model_of("Attention", feed, outputs, q_num_heads=4, kv_num_heads=2, **given)
    assert difference(model, feed) < TOLERANCE
    if outputs == 1:
        apart = {key: array.reshape(2, 5, -1, 8).swapaxes(1, 2) for key, array in qkv().items()} | more
        assert difference(model_of("Attention", apart, **given), apart) < TOLERANCE


def test_one_query_that_sees_nothing_gives_no_nan_and_no_nan_gradient() -> None:
    mask = MASK.copy()
    mask[2] = False
    feed = qkv() | {"mask": mask}
    module = to_torch(model_of("Attention", feed, q_num_heads=4, kv_num_heads=2))
    inputs = [torch.from_numpy(array).requires_grad_(array.dtype == FLOAT) for array in feed.values()]
    module(*inputs).sum().backward()
    assert all(torch.isfinite(each.grad).all() for each in inputs[:3] if each.grad is not None)


def test_a_query_all_of_whose_scores_are_least_mixes_all_values_alike() -> None:
    """With a cap on the scores torch is not asked to do it, and its own way out of it does not help."""
    values = torch.from_numpy(draw(1, 2, 3, 4))
    bias = torch.zeros(1, 1, 3, 3)
    bias[:, :, 1] = -torch.inf
    for softcap in (0.0, 5.0):
        found = mixed(values, values, values, bias, scale=None, softcap=softcap)
        torch.testing.assert_close(found[:, :, 1], values.mean(2))


MULTI: dict[str, tuple[dict[str, np.ndarray], dict[str, Any]]] = {
    "plain": ({}, {}),
    "bias": ({"b": draw(96)}, {}),
    "scores": ({"_b": MASK, "_padding": MASK, "scores": draw(2, 4, 5, 5)}, {"scale": 0.3}),
    "causal": ({}, {"unidirectional": 1}),
    "past": ({"_b": MASK, "_padding": MASK, "_scores": MASK} | past(2, 3, 4), {}),
}


@pytest.mark.parametrize("name", MULTI)
def test_many_heads(name: str) -> None:
    more, given = MULTI[name]
    feed = qkv(kv=4) | more
    model = model_of("MultiHeadAttention", feed, 3 if "past_k" in feed else 1, CONTRIB, num_heads=4, **given)
    assert difference(model, feed) < TOLERANCE


X3, X4, POSITIONS = draw(2, 5, 32), draw(2, 4, 5, 8), np.array([[0, 1, 2, 3, 4], [3, 4, 5, 6, 7]])
ROTARY: dict[str, tuple[str, dict[str, np.ndarray], dict[str, Any]]] = {
    "apart": ("", {"x": X4, "cos": COS, "sin": SIN, "at": POSITIONS}, {}),
    "flat": ("", {"x": X3, "cos": COS, "sin": SIN, "at": POSITIONS}, {"num_heads": 4}),
    "neighbours": ("", {"x": X4, "cos": COS, "sin": SIN, "at": POSITIONS}, {"interleaved": 1}),
    "a part": ("", {"x": X4, "cos": COS[:, :2], "sin": SIN[:, :2], "at": POSITIONS}, {"rotary_embedding_dim": 4}),
    "angles for each token": ("", {"x": X4, "cos": draw(2, 5, 4), "sin": draw(2, 5, 4, seed=1)}, {}),
    "fused": (CONTRIB, {"x": X3, "at": POSITIONS, "cos": COS, "sin": SIN}, {}),
    "fused, neighbours": (CONTRIB, {"x": X4, "at": POSITIONS, "cos": COS, "sin": SIN}, {"interleaved": 1}),
    "fused, from a place on": (CONTRIB, {"x": X3, "at": np.array([3]), "cos": COS, "sin": SIN}, {}),
    "fused, a part": (
        CONTRIB,
        {"x": X3, "at": POSITIONS, "cos": COS[:, :2], "sin": SIN[:, :2]},
        {"rotary_embedding_dim": 4, "num_heads": 4},
    ),
}


@pytest.mark.parametrize("name", ROTARY)
def test_rotary_positions(name: str) -> None:
    domain, feed, given = ROTARY[name]
    assert difference(model_of("RotaryEmbedding", feed, domain=domain, **given), feed) < TOLERANCE


SKIPS: dict[str, tuple[str, dict[str, np.ndarray]]] = {
    "rms": ("SkipSimplifiedLayerNormalization", {"scale": draw(8)}),
    "rms with bias": ("SkipSimplifiedLayerNormalization", {"scale": draw(8), "b": draw(8, seed=1)}),
    "mean": ("SkipLayerNormalization", {"scale": draw(8), "shift": draw(8, seed=1), "b": draw(8, seed=2)}),
    "mean, no shift": ("SkipLayerNormalization", {"scale": draw(8)}),
}


@pytest.mark.parametrize("is_learned", [True, False])
@pytest.mark.parametrize("name", SKIPS)
def test_sums_fused_with_their_norm(name: str, is_learned: bool) -> None:
    op, weights = SKIPS[name]
    feed = {"x": draw(2, 5, 8), "skip": draw(2, 5, 8, seed=1)} | ({} if is_learned else weights)
    model = model_of(op, feed, 1, CONTRIB, weights if is_learned else {}, epsilon=1e-5)
    node = model.graph.nodes[0]
    assert difference(model, feed) < TOLERANCE
    assert node.op == op and len(list(to_torch(model).parameters())) == (len(weights) if is_learned else 0)


BUILDERS: dict[str, Callable[[], onnx.ModelProto]] = {
    "packed": lambda: fused_decoder(SMALL),
    "apart": lambda: fused_decoder(Sizes(layers=2, packed=False)),
    "plain": lambda: plain_decoder(SMALL),
}


@pytest.mark.parametrize("style", BUILDERS)
def test_a_decoder_is_the_same_in_torch_and_learns_everywhere(style: str) -> None:
    model = load(BUILDERS[style]())
    interface = decoder_interface(model)
    assert interface is not None
    specs = {spec.name: spec for spec in input_specs(model)}
    feed = prefill(interface, specs, IDS)
    found = check(model, feed)
    assert found.is_same_again and not found.unreached
    assert max(found.error, found.error_after_change) < TOLERANCE
    names = {name.rpartition(".")[2] for name, _ in to_torch(model).named_parameters()}
    assert not {"cos_cache", "sin_cache"} & names  # tables of positions are no weights


@pytest.mark.parametrize("style", BUILDERS)
def test_a_decoder_goes_on_from_its_own_cache(style: str) -> None:
    model = load(BUILDERS[style]())
    interface = decoder_interface(model)
    assert interface is not None
    specs = {spec.name: spec for spec in input_specs(model)}
    feed = prefill(interface, specs, IDS)
    outputs = dict(zip([tensor.name for tensor in model.graph.outputs], outputs_of_file(model, feed), strict=True))
    step = next_step(interface, feed, outputs, np.array([[5], [6]]))
    assert difference(model, step) < TOLERANCE


REFUSED: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "quantised": (
        {"_cos": COS, "_sin": SIN, "_at": IDS, "_bias": COS, "_sink": COS, "scale": draw(1), "scale_v": draw(1)},
        "its cache is quantised",
    ),
    "positions": (TABLES | {"at": np.array([[0, 1, 2, 3, 4]] * 2)}, "ONNX Runtime on a CPU does not look at"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_understood_is_refused(name: str) -> None:
    more, why = REFUSED[name]
    feed = qkv(depth=16) | past(2, 0, depth=16) | LENGTHS | more
    model = model_of("GroupQueryAttention", feed, 3, CONTRIB, num_heads=4, kv_num_heads=2)
    with pytest.raises(ModelError, match=rf"node 'it'.*{why}"):
        to_torch(model)


def test_weights_of_few_bits_are_refused() -> None:
    with pytest.raises(ModelError, match=r"MatMulNBits.*train the network of floats, then quantise"):
        to_torch(load(few_bits(fused_decoder(SMALL))))
