from __future__ import annotations

import pytest

from graphprune.errors import ModelError, PlanError
from graphprune.hf_checkpoint.numbers import head_size, smaller_config
from tests.hf_checkpoint.folders import LLAMA

_HEADS = {"num_attention_heads": 6, "num_key_value_heads": 3, "head_dim": 16}
LARGE = LLAMA | _HEADS | {"hidden_size": 96, "intermediate_size": 40}


def test_kv_groups_take_their_heads_along_and_the_head_size_is_said() -> None:
    plain = {key: value for key, value in LARGE.items() if key != "head_dim"}
    small = smaller_config(plain, 3, (0, 1, 2), {(96, 64), (48, 32)})
    assert small == plain | {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}


def test_heads_that_transformers_refuses() -> None:
    llama = LARGE | {"hidden_size": 128, "num_attention_heads": 8, "num_key_value_heads": 4}
    with pytest.raises(PlanError, match=r"6 heads would be left.*leave 2 or 4 heads"):
        smaller_config(llama, 3, (0, 1, 2), {(128, 96), (64, 48)})
    small = smaller_config(llama | {"model_type": "qwen3"}, 3, (0, 1, 2), {(128, 96), (64, 48)})
    assert (small["num_attention_heads"], small["num_key_value_heads"]) == (6, 3)


def test_neurons_alone_or_gate_and_up_in_one() -> None:
    assert smaller_config(LARGE, 3, (0, 1, 2), {(40, 16)})["intermediate_size"] == 16
    assert smaller_config(LARGE, 3, (0, 1, 2), {(40, 16), (80, 32)})["intermediate_size"] == 16
    gpt = {"n_layer": 3, "n_head": 2, "n_embd": 8, "n_inner": None}
    assert smaller_config(gpt, 3, (0, 2), {(32, 20)}) == gpt | {"n_layer": 2, "n_inner": 20}


def test_sizes_without_a_number_are_refused() -> None:
    with pytest.raises(PlanError, match="no number for"):
        smaller_config(LARGE, 3, (0, 1, 2), {(7, 5)})
    with pytest.raises(PlanError, match="no whole number of heads"):
        smaller_config(LARGE, 3, (0, 1, 2), {(96, 70)})
    with pytest.raises(PlanError, match="different sizes"):
        smaller_config(LARGE, 3, (0, 1, 2), {(40, 16), (40, 12)})
    with pytest.raises(PlanError, match="derives the size of its heads"):
        smaller_config({"n_layer": 3, "n_head": 2, "n_embd": 8}, 3, (0, 1, 2), {(8, 4)})
    with pytest.raises(ModelError, match="does not speak of the 5 layers"):
        smaller_config(LARGE, 5, (0, 1), set())


def test_the_size_of_a_head() -> None:
    assert head_size(LARGE) == 16 and head_size({"n_head": 2, "n_embd": 8}) == 4 and head_size({}) == 0
