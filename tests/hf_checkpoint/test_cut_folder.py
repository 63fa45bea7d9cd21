"""A checkpoint follows an ONNX file that was cut by hand. Nothing here needs PyTorch."""

from __future__ import annotations

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest

from graphprune.errors import InputError, ModelError, PlanError
from graphprune.hf_checkpoint import proof
from graphprune.ir.loading import load
from graphprune.pipeline.apply_hf import HfResult, apply_hf, cut_folder
from graphprune.plan.plan import Plan
from graphprune.rewrite import remove_blocks
from tests.decoder_graphs import Sizes, fused_decoder
from tests.decoder_steps import looked_at
from tests.hf_checkpoint.folders import LLAMA, read, save, tensors_of
from tests.model_folder.by_hand import dense, named, without_attention, without_layer

pytest.importorskip("safetensors", reason="the checkpoint's files are safetensors")

ALIKE = {layer: list(range(16)) for layer in range(3)}


@pytest.fixture(autouse=True)
def _nothing_to_compare(monkeypatch: pytest.MonkeyPatch) -> None:
    """The decoders made by hand are no network that transformers knows."""
    monkeypatch.setattr(proof, "can_prove", lambda: False)


def narrower(proto: onnx.ModelProto, kept: dict[int, list[int]]) -> onnx.ModelProto:
    """Some neurons of the MLPs of layers, by hand."""
    for tensor in proto.graph.initializer:
        layer = int(tensor.name[-1]) if tensor.name[-1].isdigit() else -1
        if layer in kept and tensor.name[:-1] in ("gate", "up", "down"):
            axis = 0 if tensor.name.startswith("down") else 1
            values = np.take(onnx.numpy_helper.to_array(tensor), kept[layer], axis)
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(values), tensor.name))
    return proto


def scaled(proto: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """What a repair does: other values."""
    for tensor in proto.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * np.float32(1.5), name))
    return proto


def run(folder: Path, small: onnx.ModelProto, repaired: onnx.ModelProto | None = None) -> HfResult:
    return cut_folder(folder, folder.with_name("out"), load(dense()), load(small), load(repaired or small))


def config(folder: Path) -> object:
    return json.loads((folder / "config.json").read_text())


def test_a_layer_less_where_norms_are_fused_with_sums(tmp_path: Path) -> None:
    """As onnxruntime-genai's builder writes them: the sum before the layer stays, and the layer's norm does not."""
    proto = named(fused_decoder(Sizes(layers=3, packed=False)))
    for tensor in proto.graph.initializer:
        tensor.name = "norm_last" if tensor.name == "norm3" else tensor.name
    for node in proto.graph.node:
        node.input[:] = ["norm_last" if name == "norm3" else name for name in node.input]
    analysis = looked_at(proto)
    blocks = [join.block for join in analysis.joins if join.block]
    folder = save(tmp_path / "hf", tensors_of(proto))
    small = remove_blocks(analysis.model, blocks[2:4])
    cut_folder(folder, tmp_path / "out", analysis.model, small, small)
    after = read(tmp_path / "out")
    assert {name for name in after if ".layers.2." in name} == set()
    name = "model.layers.1.input_layernorm.weight"
    np.testing.assert_array_equal(after[name], tensors_of(proto)["model.layers.2.input_layernorm.weight"])


@pytest.mark.parametrize("shards", [1, 3])
def test_a_layer_less(tmp_path: Path, shards: int) -> None:
    tensors = tensors_of(dense())
    result = run(save(tmp_path / "hf", tensors, shards=shards), without_layer(dense(), 1))
    out = tmp_path / "out"
    expected = {
        name.replace("layers.2", "layers.1"): values for name, values in tensors.items() if "layers.1" not in name
    }
    left = read(out)
    assert left.keys() == expected.keys()
    assert all(np.array_equal(left[name], expected[name]) for name in expected)
    assert config(out) == LLAMA | {"num_hidden_layers": 2, "layer_types": ["full_attention", "full_attention"]}
    assert result.layers == (3, 2) and result.parameters[1] == sum(values.size for values in left.values())
    assert result.difference is None and "not compared" in result.note
    assert (out / "tokenizer.json").read_text() == "{ }"
    if shards > 1:
        index = json.loads((out / "model.safetensors.index.json").read_text())
        assert index["weight_map"].keys() == left.keys()
        assert index["metadata"]["total_size"] == sum(values.nbytes for values in left.values())


def test_fewer_neurons_with_repaired_values(tmp_path: Path) -> None:
    kept = {layer: [layer, *range(3, 22)] for layer in range(3)}
    small, repaired = narrower(dense(), kept), scaled(narrower(dense(), kept), "down1")
    run(save(tmp_path / "hf", tensors_of(dense())), small, repaired)
    left, expected = read(tmp_path / "out"), tensors_of(repaired)
    assert all(np.array_equal(left[name], expected[name]) for name in expected)
    assert left["model.layers.1.mlp.down_proj.weight"].shape == (32, 20)
    assert config(tmp_path / "out") == LLAMA | {"intermediate_size": 20}


def test_half_precision_stays(tmp_path: Path) -> None:
    proto = dense()
    for tensor in proto.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            rounded = values.astype(ml_dtypes.bfloat16).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(rounded, tensor.name))
    tensors = {name: values.astype(ml_dtypes.bfloat16) for name, values in tensors_of(proto).items()}
    whole, small = onnx.ModelProto(), onnx.ModelProto()
    whole.CopyFrom(proto)
    small.CopyFrom(narrower(proto, ALIKE))
    cut_folder(save(tmp_path / "hf", tensors), tmp_path / "out", load(whole), load(small), load(small))
    left = read(tmp_path / "out")
    assert {values.dtype.name for values in left.values()} == {"bfloat16"}
    assert np.array_equal(left["model.layers.2.mlp.up_proj.weight"], tensors["model.layers.2.mlp.up_proj.weight"][:16])


def test_norms_that_are_all_ones_go_with_their_layer(tmp_path: Path) -> None:
    def even(proto: onnx.ModelProto) -> onnx.ModelProto:
        for tensor in proto.graph.initializer:
            if tensor.name.startswith(("norm", "post")):
                tensor.CopyFrom(onnx.numpy_helper.from_array(np.ones(32, np.float32), tensor.name))
        return proto

    folder, small = save(tmp_path / "hf", tensors_of(even(dense()))), load(without_layer(even(dense()), 1))
    cut_folder(folder, tmp_path / "out", load(even(dense())), small, small)
    assert len(read(tmp_path / "out")) == 3 + 2 * 9


def refusal(folder: Path, small: onnx.ModelProto) -> str:
    with pytest.raises((PlanError, ModelError)) as error:
        run(folder, small)
    assert not folder.with_name("out").exists()
    return str(error.value)


def test_what_transformers_has_no_numbers_for_is_refused(tmp_path: Path) -> None:
    folder = save(tmp_path / "hf", tensors_of(dense()))
    assert "layer 1 loses model.layers.1.input_layernorm" in refusal(folder, without_attention(dense(), 1))
    message = refusal(folder, narrower(dense(), {0: list(range(20)), 1: list(range(16)), 2: list(range(20))}))
    assert "differs from layer to layer (0: 32x20, 1: 32x16, 2: 32x20)" in message and "--target ratio" in message


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    tensors = tensors_of(dense())
    tensors["model.layers.1.mlp.up_proj.weight"] = tensors["model.layers.1.mlp.up_proj.weight"] + 1
    message = refusal(save(tmp_path / "hf", tensors), narrower(dense(), ALIKE))
    assert "model.layers.1.mlp.up_proj.weight lies nowhere in the ONNX file" in message


def test_a_pruned_file_of_another_plan_is_refused(tmp_path: Path) -> None:
    folder = save(tmp_path / "hf", tensors_of(dense()))
    other = load(narrower(dense(), ALIKE))
    with pytest.raises(PlanError, match="is not what the plan makes"):
        cut_folder(folder, tmp_path / "out", load(dense()), load(dense()), other)


def test_plan_and_folders_are_checked_first(tmp_path: Path) -> None:
    folder = save(tmp_path / "hf", tensors_of(dense()))
    onnx.save(dense(), str(folder / "model.onnx"))
    with pytest.raises(InputError, match="name it with --pruned"):
        apply_hf(Plan("0" * 64, (), "", 1, 0, repair=("ridge",)), folder, tmp_path / "out")
    with pytest.raises(PlanError, match="made for another model"):
        apply_hf(Plan("0" * 64, (), "", 1, 0), folder, tmp_path / "out")
    with pytest.raises(InputError, match="not empty"):
        apply_hf(Plan("0" * 64, (), "", 1, 0), folder, folder)
    (folder / "model.safetensors").write_text("no such file")
    with pytest.raises(ModelError, match="is no safetensors file"):
        apply_hf(Plan(load(folder / "model.onnx").sha256, (), "", 1, 0), folder, tmp_path / "out")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="holds no safetensors"):
        apply_hf(Plan(load(folder / "model.onnx").sha256, (), "", 1, 0), folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
