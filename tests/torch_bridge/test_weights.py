"""Which constants are parameters, what they are called, and what is shared."""

from __future__ import annotations

import operator

import numpy as np
import pytest

pytest.importorskip("torch", reason="the bridge leads to torch")

import torch

from graphprune.torch_bridge import to_torch, write_back
from graphprune.torch_bridge.functions.numbers import choose
from graphprune.torch_bridge.weights import is_named
from tests.torch_bridge.checks import check, disturbed, outputs_of_file, outputs_of_module, worst
from tests.torch_bridge.graphs import build, draw, node

X = {"x": draw(3, 6)}


def _names(module: torch.nn.Module) -> list[str]:
    return sorted(name for name, _ in module.named_parameters())


@pytest.mark.parametrize("name", ["conv1.weight", "pos_embed", "2.scale", "layers.0.gamma", "cls_token"])
def test_authors_name_members_of_modules(name: str) -> None:
    assert is_named(name)


@pytest.mark.parametrize("name", ["val_12", "onnx::MatMul_3", "/a/Constant_output_0", "arange_1", "a.weight_bias", "1"])
def test_exporters_number_things(name: str) -> None:
    assert not is_named(name)


def test_a_product_and_the_sum_behind_it_are_one_layer_at_the_path_of_the_bias() -> None:
    nodes = [node("MatMul", "x val_1", "h"), node("Add", "h blocks.0.fc.bias")]
    weights = {"val_1": draw(6, 4), "blocks.0.fc.bias": draw(4)}
    module = to_torch(build(nodes, X, weights))
    assert _names(module) == ["blocks.0.fc.bias", "blocks.0.fc.weight"]
    assert isinstance(module.get_submodule("blocks.0.fc"), torch.nn.Linear)
    assert torch.equal(module.get_parameter("blocks.0.fc.weight"), torch.from_numpy(weights["val_1"].T))


def test_a_weight_that_its_author_named_keeps_its_way_round() -> None:
    weights = {"h.0.c_fc.weight": draw(6, 4), "h.0.c_fc.bias": draw(4)}
    module = to_torch(build([node("Gemm", "x h.0.c_fc.weight h.0.c_fc.bias")], X, weights))
    assert torch.equal(module.state_dict()["h.0.c_fc.weight"], torch.from_numpy(weights["h.0.c_fc.weight"]))


def test_a_sum_that_somebody_else_reads_around_is_no_bias() -> None:
    nodes = [node("MatMul", "x val_1", "h"), node("Add", "h fc.bias", "a"), node("Mul", "a h")]
    model = build(nodes, X, {"val_1": draw(6, 4), "fc.bias": draw(4)})
    assert check(model, X).is_good


def test_a_weight_of_two_layers_is_one_parameter_under_one_initialiser() -> None:
    nodes = [node("Gemm", "x fc.weight fc.bias", "h", transB=1), node("Gemm", "h fc.weight other.bias", transB=1)]
    model = build(nodes, X, {"fc.weight": draw(6, 6), "fc.bias": draw(6), "other.bias": draw(6, seed=1)})
    module = to_torch(model)
    assert len(list(module.parameters())) == 3
    assert check(model, X).is_good


def test_a_dense_layer_that_holds_the_embedding_turned_round_stays_tied_to_it() -> None:
    table = draw(9, 6)
    nodes = [node("Gather", "wte.weight ids", "e"), node("MatMul", "e val_7")]
    feed = {"ids": np.array([[1, 0, 8]], np.int64)}
    model = build(nodes, feed, {"wte.weight": table, "val_7": np.ascontiguousarray(table.T)})
    module = to_torch(model)
    assert len(list(module.parameters())) == 1
    assert check(model, feed).is_good
    changed = write_back(model, disturbed(module))
    values = {c.name: c.values for n in changed.graph.nodes for c in n.inputs if c.name in ("wte.weight", "val_7")}
    assert np.array_equal(values["wte.weight"], values["val_7"].T)
    assert not np.array_equal(values["wte.weight"], table)


def test_scalars_masks_integers_and_tables_of_positions_are_not_trained() -> None:
    nodes = [
        node("Mul", "x scale", "a"),
        node("Add", "a attn_mask", "b"),
        node("Add", "b bias_mask", "c"),
        node("Mul", "c rotary.cos", "d"),
        node("Add", "d blocks.0.gamma"),
    ]
    masks = {"attn_mask": draw(6), "bias_mask": np.array([0, 0, 0, 0, 0, -1e4], np.float32)}
    weights = {"scale": np.float32(0.5), "rotary.cos": draw(6), "blocks.0.gamma": draw(6, seed=1), **masks}
    module = to_torch(build(nodes, X, {name: np.asarray(value) for name, value in weights.items()}))
    assert _names(module) == ["blocks.0.gamma"]


def test_a_vector_without_a_name_is_trained_behind_a_layer_and_not_in_front_of_it() -> None:
    nodes = [
        node("Relu", "x", "r"),
        node("Sub", "r val_1", "a"),
        node("Gemm", "a fc.weight", "b", transB=1),
        node("Mul", "b val_2"),
    ]
    weights = {"val_1": draw(6), "fc.weight": draw(6, 6), "val_2": draw(6, seed=1)}
    module = to_torch(build(nodes, X, weights))
    assert _names(module) == ["fc.weight", "weights.val_2"]


def test_positions_among_an_alias_and_a_method_name_do_not_collide() -> None:
    nodes = [node("Gemm", "x train.weight", "a", transB=1), node("Add", "a weight")]
    model = build(nodes, X, {"train.weight": draw(6, 6), "weight": draw(6)})
    assert check(model, X).is_good


def test_what_is_not_trained_is_kept_once() -> None:
    nodes = [node("Add", "x limit", "a"), node("Mul", "a limit", "b"), node("Add", "b val_1")]
    least = np.full(6, -3e38, np.float32)
    numbers = {"limit": least, "val_1": least}
    module = to_torch(build(nodes, X, numbers))
    assert sorted(name for name, _ in module.named_buffers()) == ["constants.val_1", "limit"]


def test_sizes_stay_numbers_at_any_batch() -> None:
    """Shape, Gather, Concat and Reshape of the older exporter leave nothing in the module but the reshape."""
    image = draw(2, 4, 5, 5)
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s first", "n", axis=0),
        node("Unsqueeze", "n zero", "u"),
        node("Concat", "u rest", "target", axis=0),
        node("Reshape", "x target"),
    ]
    weights = {"first": np.array(0), "zero": np.array([0]), "rest": np.array([2, -1])}
    model = build(nodes, {"x": image}, weights, free={"x": [0]})
    module = to_torch(model)
    called = [node.target for node in module.graph.nodes if node.op in ("call_function", "call_method")]
    assert called == ["size", torch.reshape]
    for batch in (1, 7):
        feed = {"x": draw(batch, 4, 5, 5)}
        assert worst(outputs_of_file(model, feed), outputs_of_module(module, model, feed)) == 0


def test_a_size_is_never_minus_one() -> None:
    """The older exporter asks that of every size that it expands to."""
    nodes = [
        node("Shape", "x", "s"),
        node("Equal", "s minus", "e"),
        node("Where", "e ones s", "target"),
        node("Expand", "token target"),
    ]
    weights = {"minus": np.array(-1), "ones": np.array([1, 1]), "token": draw(1, 6)}
    model = build(nodes, X, weights, free={"x": [0]})
    module = to_torch(model)
    assert [node.target for node in module.graph.nodes if node.op == "call_method"] == ["size"]
    assert not [node for node in module.graph.nodes if node.target in (operator.eq, choose)]
    assert check(model, {"x": draw(5, 6)}).error == 0
