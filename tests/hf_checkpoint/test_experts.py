"""Experts of a checkpoint, numbered or stacked, follow those of an ONNX file. Cut by hand; nothing needs PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from graphprune.errors import PlanError
from graphprune.hf_checkpoint import proof
from graphprune.hf_checkpoint.experts import taken_apart
from graphprune.ir.loading import load
from graphprune.model_folder.json_file import read_object
from graphprune.pipeline.apply_hf import HfResult, cut_folder
from tests.hf_checkpoint.folders import LLAMA, read, save, tensors_of, weights_of
from tests.model_folder.by_hand import dense, without_attention, without_layer

pytest.importorskip("safetensors", reason="the checkpoint's files are safetensors")

EXPERTS = 5
MIXTURE = {key: value for key, value in LLAMA.items() if key != "layer_types"}
MIXTURE |= {"num_hidden_layers": 2, "num_local_experts": EXPERTS, "num_experts_per_tok": 4, "eos_token_id": 1}


@pytest.fixture(autouse=True)
def _nothing_to_compare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "can_prove", lambda: False)


def mixture() -> onnx.ModelProto:
    return dense(layers=2, experts=EXPERTS)


def without(proto: onnx.ModelProto, gone: dict[int, list[int]]) -> onnx.ModelProto:
    """Some experts of layers less, and their columns of the router."""
    for tensor in proto.graph.initializer:
        layer = int(tensor.name[-1]) if tensor.name[-1].isdigit() else -1
        if layer in gone and tensor.name[:-1] in ("up", "down", "router"):
            axis = 1 if tensor.name.startswith("router") else 0
            values = np.delete(onnx.numpy_helper.to_array(tensor), gone[layer], axis)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    return proto


def tensors(proto: onnx.ModelProto, *, is_stacked: bool) -> dict[str, np.ndarray]:
    """A checkpoint as transformers 5 keeps it, or one tensor for each expert as before."""
    weights = weights_of(proto)
    found = {name: values for name, values in tensors_of(proto, 2).items() if "mlp" not in name}
    for layer in range(2):
        mlp = f"model.layers.{layer}.mlp."
        found[f"{mlp}gate.weight"] = np.ascontiguousarray(weights[f"router{layer}"].T)
        for part in ("up", "down"):
            stack = weights[f"{part}{layer}"]
            if is_stacked:
                found[f"{mlp}experts.{part}_proj"] = stack
            else:
                found |= {f"{mlp}experts.{e}.{part}_proj.weight": np.array(each) for e, each in enumerate(stack)}
    return found


def run(folder: Path, small: onnx.ModelProto) -> HfResult:
    cut = load(small)
    return cut_folder(folder, folder.with_name("out"), load(mixture()), cut, cut)


@pytest.mark.parametrize("is_stacked", [False, True])
def test_others_in_each_layer(tmp_path: Path, is_stacked: bool) -> None:
    folder = save(tmp_path / "hf", tensors(mixture(), is_stacked=is_stacked), MIXTURE)
    small = without(mixture(), {0: [1, 4], 1: [0, 2]})
    result = run(folder, small)
    expected, found = tensors(small, is_stacked=is_stacked), read(tmp_path / "out")
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
    config = read_object(tmp_path / "out" / "config.json")
    assert config == MIXTURE | {"num_local_experts": 3, "num_experts_per_tok": 3}
    assert result.parameters[1] == sum(values.size for values in expected.values())


@pytest.mark.parametrize("is_stacked", [False, True])
def test_layers_that_keep_different_numbers_are_refused(tmp_path: Path, is_stacked: bool) -> None:
    folder = save(tmp_path / "hf", tensors(mixture(), is_stacked=is_stacked), MIXTURE)
    with pytest.raises(
        PlanError, match=r"differs from layer to layer \(0: 4x.*, 1: 3x.*\): transformers has one number"
    ):
        run(folder, without(mixture(), {0: [1], 1: [0, 2]}))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("is_stacked", [False, True])
def test_a_layer_takes_its_experts_along(tmp_path: Path, is_stacked: bool) -> None:
    before = tensors(mixture(), is_stacked=is_stacked)
    folder = save(tmp_path / "hf", before, MIXTURE)
    assert run(folder, without_layer(mixture(), 1)).layers == (2, 1)
    found = read(tmp_path / "out")
    assert found.keys() == {name for name in before if "layers.1." not in name}
    assert read_object(tmp_path / "out" / "config.json") == MIXTURE | {"num_hidden_layers": 1}


def test_a_part_of_a_layer_is_refused_still(tmp_path: Path) -> None:
    folder = save(tmp_path / "hf", tensors(mixture(), is_stacked=False), MIXTURE)
    with pytest.raises(PlanError, match=r"layer 1 loses .* transformers knows no such layer"):
        run(folder, without_attention(mixture(), 1))


def test_a_repair_changes_the_values_and_not_which_experts_are_left() -> None:
    full = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    before, cut, after = taken_apart({"w": full}, {"w": full[[0, 2]]}, {"w": full[[0, 2]] * 2})
    assert list(before) == ["w[0]", "w[1]", "w[2]"]
    assert list(cut) == list(after) == ["w[0]", "w[2]"]
    np.testing.assert_array_equal(after["w[2]"], full[2] * 2)


def test_experts_that_lose_neurons_as_well_are_refused() -> None:
    full = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    with pytest.raises(PlanError, match="which experts of 'w' are left cannot be told"):
        taken_apart({"w": full}, {"w": full[:2, :1]}, {"w": full[:2, :1]})
