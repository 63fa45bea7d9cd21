from __future__ import annotations

from copy import deepcopy

import pytest

from graphprune.errors import ModelError
from graphprune.model_folder.configs import CountChange, edit_config, edit_genai, neurons_of, one_data_file, set_neurons
from tests.model_folder.by_hand import CONFIG, GENAI

ONE_LESS = CountChange(layers=(3, 2), kept=(0, 2), kv_heads=(2, 1), query_heads=(4, 2))


def test_counts_and_lists_follow_and_the_rest_stays_in_its_order() -> None:
    config = deepcopy(CONFIG)
    assert edit_config(config, ONE_LESS)
    changed = {"num_hidden_layers": 2, "num_key_value_heads": 1, "layer_types": ["full_attention", "other"]}
    assert config == CONFIG | changed and list(config) == list(CONFIG)


def test_the_decoder_of_genai_follows_without_new_keys() -> None:
    config = deepcopy(GENAI)
    assert edit_genai(config, ONE_LESS)
    decoder = GENAI["model"]["decoder"] | {
        "num_hidden_layers": 2,
        "num_key_value_heads": 1,
        "num_attention_heads": 2,
        "sliding_window": {"layers": [1], "window_size": 8},
    }
    assert config == {"model": {"type": "llama", "decoder": decoder}, "search": GENAI["search"]}
    assert list(config["model"]["decoder"]) == list(GENAI["model"]["decoder"])


def test_counts_that_say_something_else_stay() -> None:
    config = CONFIG | {"num_hidden_layers": 12, "layer_types": ["a"] * 3}
    assert not edit_config(config, ONE_LESS)
    assert config["num_hidden_layers"] == 12 and len(config["layer_types"]) == 3
    assert not edit_genai({"model": {}}, ONE_LESS)


def test_the_decoder_in_a_model_of_several_parts_is_found() -> None:
    config = {"num_hidden_layers": True, "text_config": {"num_hidden_layers": 3, "n_head_kv": 2}}
    assert edit_config(config, ONE_LESS)
    assert config == {"num_hidden_layers": True, "text_config": {"num_hidden_layers": 2, "n_head_kv": 1}}


def test_layers_that_cannot_be_told_apart_are_not_guessed() -> None:
    unknown = CountChange(layers=(3, 2), kept=None)
    alike = CONFIG | {"layer_types": ["a", "a", "a"]}
    assert edit_config(alike, unknown) and alike["layer_types"] == ["a", "a"]
    with pytest.raises(ModelError, match="which layers of the model are left"):
        edit_config(deepcopy(CONFIG), unknown)
    with pytest.raises(ModelError, match="which layers of the model are left"):
        edit_genai(deepcopy(GENAI), unknown)


def test_lists_of_layers_by_number_are_renumbered() -> None:
    config = CONFIG | {"mlp_only_layers": [0, 1, 2]}
    edit_config(config, ONE_LESS)
    assert config["mlp_only_layers"] == [0, 1]


def test_the_width_of_the_mlps() -> None:
    config = deepcopy(CONFIG)
    assert neurons_of(config) == 24
    set_neurons(config, (24, 20))
    assert neurons_of(config) == 20
    assert neurons_of({"n_inner": None}) is None


def test_transformers_js_is_told_of_one_data_file() -> None:
    config = {"transformers.js_config": {"use_external_data_format": {"model.onnx": 3, "model_q4.onnx": 2}}}
    one_data_file(config, "model.onnx")
    assert config["transformers.js_config"]["use_external_data_format"] == {"model.onnx": 1, "model_q4.onnx": 2}
