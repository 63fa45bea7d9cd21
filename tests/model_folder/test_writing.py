from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import onnx
import pytest

from graphprune.errors import InputError, ModelError
from graphprune.ir.loading import load
from graphprune.model_folder.layout import find
from graphprune.model_folder.writing import check_output, complete, named_output, staged_folder
from tests.model_folder.by_hand import CONFIG, GENAI, dense, lay_down, without_attention, without_layer

FILES: dict[str, Any] = {
    "config.json": CONFIG,
    "genai_config.json": GENAI,
    "tokenizer.json": "{ }",
    "sub/chat.jinja": "x",
}


def completed(folder: Path, small: onnx.ModelProto, out: Path, data: str = "") -> tuple[str, ...]:
    """Notes on the folder of ``small``, written at ``out``."""
    found = find(folder)
    with staged_folder(out) as stage:
        path = stage / found.model
        path.parent.mkdir(exist_ok=True)
        if data:
            onnx.save_model(small, str(path), save_as_external_data=True, location=data, size_threshold=100)
        else:
            onnx.save(small, str(path))
        return complete(path, found, load(found.model_file), load(path))


def configs(out: Path) -> tuple[Any, Any]:
    return json.loads((out / "config.json").read_text()), json.loads((out / "genai_config.json").read_text())


def test_a_layer_less(tmp_path: Path) -> None:
    here, out = lay_down(tmp_path / "llm", dense(), FILES), tmp_path / "small"
    assert completed(here, without_layer(dense(), 1), out) == ()
    config, genai = configs(out)
    assert config == CONFIG | {"num_hidden_layers": 2, "layer_types": ["full_attention", "other"]}
    assert genai["model"]["decoder"]["num_hidden_layers"] == 2
    assert (out / "sub/chat.jinja").read_text() == "x" and (out / "tokenizer.json").read_text() == "{ }"
    assert (out / "config.json").read_text().startswith('{\n    "model_type"') and "é" in (
        out / "config.json"
    ).read_text()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["llm", "small"]


def test_what_did_not_change_is_copied_as_it_is(tmp_path: Path) -> None:
    text = json.dumps(CONFIG, separators=(" ,", ":  "))
    here, out = lay_down(tmp_path / "llm", dense(), {"config.json": text}), tmp_path / "small"
    completed(here, dense(), out)
    assert (out / "config.json").read_text() == text


def test_fewer_heads_and_neurons(tmp_path: Path) -> None:
    here, out = lay_down(tmp_path / "llm", dense(), FILES), tmp_path / "small"
    assert completed(here, dense(heads=2, kv_heads=1, neurons=20), out) == ()
    config, genai = configs(out)
    assert config == CONFIG | {"num_key_value_heads": 1, "intermediate_size": 20}
    assert genai["model"]["decoder"]["num_key_value_heads"] == 1


def test_fewer_experts(tmp_path: Path) -> None:
    told = CONFIG | {"num_local_experts": 6, "num_experts_per_tok": 2, "intermediate_size": 24}
    here = lay_down(tmp_path / "llm", dense(experts=6), FILES | {"config.json": told})
    assert completed(here, dense(experts=4), tmp_path / "small") == ()
    assert configs(tmp_path / "small")[0] == told | {"num_local_experts": 4}
    uneven = dense(experts=4)
    for tensor in uneven.graph.initializer:
        if tensor.name in ("up1", "down1"):
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor)[:3], tensor.name))
    (note,) = completed(here, uneven, tmp_path / "uneven")
    assert "differ in their number of experts" in note
    assert configs(tmp_path / "uneven")[0] == told


def test_attention_gone_from_one_layer(tmp_path: Path) -> None:
    here, out = lay_down(tmp_path / "llm", dense(), FILES), tmp_path / "small"
    (note,) = completed(here, without_attention(dense(), 1), out)
    assert "2 layers have attention" in note and "transformers has no such network" in note
    assert configs(out)[0]["num_hidden_layers"] == 2


def test_layers_with_different_numbers_of_kv_heads(tmp_path: Path) -> None:
    here, out = lay_down(tmp_path / "llm", dense(), FILES), tmp_path / "small"
    small = dense()
    for value in (*small.graph.input, *small.graph.output):
        if ".2." in value.name:
            value.type.tensor_type.shape.dim[1].dim_value = 1
    folder = find(here)
    with staged_folder(out) as stage:
        onnx.save(small, str(stage / "model.onnx"))
        unchecked = load(folder.model_file)
        unchecked.header.graph.CopyFrom(small.graph)
        (note,) = complete(stage / "model.onnx", folder, load(folder.model_file), unchecked)
    assert "different numbers of KV heads (2, 2, 1)" in note
    assert configs(out)[0]["num_key_value_heads"] == 2


def test_widths_that_differ_are_told(tmp_path: Path) -> None:
    here, out = lay_down(tmp_path / "llm", dense(), FILES), tmp_path / "small"
    small, narrow = dense(), dense(neurons=20)
    for tensor in small.graph.initializer:
        if tensor.name in ("gate1", "up1", "down1"):
            tensor.CopyFrom(next(other for other in narrow.graph.initializer if other.name == tensor.name))
    (note,) = completed(here, small, out)
    assert "differ in width" in note and configs(out)[0]["intermediate_size"] == 24


def test_the_data_file_keeps_its_name(tmp_path: Path) -> None:
    here = lay_down(tmp_path / "llm", dense(), {}, "onnx/model.onnx", data="model.onnx_data")
    out = tmp_path / "small"
    completed(here, dense(neurons=20), out, data="model.onnx.data")
    assert sorted(file.name for file in (out / "onnx").iterdir()) == ["model.onnx", "model.onnx_data"]
    onnx.checker.check_model(str(out / "onnx" / "model.onnx"))


def test_counts_that_are_not_those_of_the_file_are_told(tmp_path: Path) -> None:
    here = lay_down(tmp_path / "llm", dense(), {"config.json": CONFIG | {"num_hidden_layers": 8}})
    (note,) = completed(here, without_layer(dense(), 1), tmp_path / "small")
    assert "does not speak of 3 layers" in note


def test_nothing_is_left_where_it_fails(tmp_path: Path) -> None:
    here = lay_down(tmp_path / "llm", dense(), {"config.json": "{"})
    with pytest.raises(ModelError):
        completed(here, dense(), tmp_path / "small")
    assert [file.name for file in tmp_path.iterdir()] == ["llm"]


def test_what_came_in_between_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "small"
    with pytest.raises(InputError, match="cannot put the result"), staged_folder(out) as stage:
        (stage / "new").write_text("new")
        out.mkdir()
        (out / "old").write_text("old")
    assert [file.name for file in out.iterdir()] == ["old"] and [file.name for file in tmp_path.iterdir()] == ["small"]


def test_outputs_that_cannot_be(tmp_path: Path) -> None:
    here = lay_down(tmp_path / "llm", dense(), deepcopy(FILES))
    (tmp_path / "file").write_text("")
    for out, message in (
        (here, "not empty"),
        (here / "small", "lies in the input folder"),
        (tmp_path / "file", "is a file"),
        (tmp_path / "small.onnx", "is a file's name"),
        (tmp_path / "none" / "small", "does not exist"),
    ):
        with pytest.raises(InputError, match=message):
            check_output(out, here)
    (tmp_path / "empty").mkdir()
    check_output(tmp_path / "empty", here)
    assert named_output(None, here) == tmp_path / "llm.pruned"
