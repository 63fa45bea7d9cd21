"""The counts in ``config.json`` and ``genai_config.json``, made those of the smaller network.

An entry is changed only where it says what the unpruned file shows: then it means that. No key is added.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from graphprune.errors import ModelError
from graphprune.model_folder.json_file import Object, entry

Pair = tuple[int, int]
"""What the unpruned file shows, and what the smaller one does."""

_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_decoder_layers", "decoder_layers")
_KV_HEADS = ("num_key_value_heads", "num_kv_heads", "n_head_kv")
_NEURONS = ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size")
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
_SECTIONS = ("text_config", "llm_config", "language_config", "decoder")
_LAYER_NUMBERS = ("mlp_only_layers",)
_NO_LAYER_LIST = ("_id", "_ids", "_token", "_tokens", "architectures")
"""How lists end that are as long as there are layers by chance only."""


@dataclass(frozen=True)
class CountChange:
    """How the counts change.

    ``kept`` are the layers that stay, by their old number; None where the file does not tell. The pairs but ``layers``
    are None where nothing is known, or where the layers of the smaller network differ.
    """

    layers: Pair
    kept: Sequence[int] | None
    kv_heads: Pair | None = None
    query_heads: Pair | None = None
    head_dim: Pair | None = None


def edit_genai(config: Object, change: CountChange) -> bool:
    """CountChange ``genai_config.json`` in place; whether its counts were those of the unpruned file.

    Raises
    ------
    ModelError
        It lists layers, and which of them are left is not clear.
    """
    decoder = entry(config, "model", "decoder")
    if not isinstance(decoder, dict) or not _set(decoder, "num_hidden_layers", change.layers):
        return False
    for key, pair in (
        ("num_key_value_heads", change.kv_heads),
        ("num_attention_heads", change.query_heads),
        ("head_size", change.head_dim),
    ):
        if pair is not None:
            _set(decoder, key, pair)
    window = decoder.get("sliding_window")
    if isinstance(window, dict) and isinstance(window.get("layers"), list):
        window["layers"] = _renumbered(window["layers"], change)
    return True


def edit_config(config: Object, change: CountChange) -> bool:
    """CountChange ``config.json`` in place; whether its counts were those of the unpruned file.

    The number of query heads stays: the tools take the head size for the hidden size over that number.

    Raises
    ------
    ModelError
        It lists layers, and which of them are left is not clear.
    """
    for section in sections(config):
        if not any(_set(section, key, change.layers) for key in _LAYERS):
            continue
        if change.kv_heads is not None:
            for key in _KV_HEADS:
                _set(section, key, change.kv_heads)
        _edit_lists(section, change)
        return True
    return False


def set_neurons(config: Object, neurons: Pair) -> None:
    """CountChange the width of the MLPs in ``config.json``, in place."""
    for section in sections(config):
        for key in _NEURONS:
            _set(section, key, neurons)


def neurons_of(config: Object) -> int | None:
    """The width of the MLPs that ``config.json`` tells."""
    found = (section.get(key) for section in sections(config) for key in _NEURONS)
    return next((value for value in found if isinstance(value, int) and value > 0), None)


def set_experts(config: Object, experts: Pair) -> None:
    """CountChange the number of experts of a layer in ``config.json``, in place."""
    for section in sections(config):
        for key in _EXPERTS:
            _set(section, key, experts)


def experts_of(config: Object) -> int | None:
    """The number of experts of a layer that ``config.json`` tells, where there are several."""
    found = (section.get(key) for section in sections(config) for key in _EXPERTS)
    return next((value for value in found if isinstance(value, int) and value > 1), None)


def one_data_file(config: Object, file_name: str) -> None:
    """Tell transformers.js that the weights of ``file_name`` lie in one data file, where it was told of several."""
    settings = entry(config, "transformers.js_config")
    if not isinstance(settings, dict):
        return
    told = settings.get("use_external_data_format")
    stem = file_name.removesuffix(".onnx")
    if isinstance(told, dict):
        for key in (file_name, stem):
            if isinstance(told.get(key), int) and told[key] > 1:
                told[key] = 1
    elif isinstance(told, int) and told > 1:
        settings["use_external_data_format"] = 1


def sections(config: Object) -> Iterator[Object]:
    """The whole and, in the files of models of several parts, the part that is the decoder."""
    yield config
    for name in _SECTIONS:
        if isinstance(config.get(name), dict):
            yield config[name]


def _set(section: Object, key: str, pair: Pair) -> bool:
    value = section.get(key)
    if isinstance(value, bool) or value != pair[0]:
        return False
    section[key] = pair[1]
    return True


def _edit_lists(section: Object, change: CountChange) -> None:
    before, _ = change.layers
    for key, value in section.items():
        if not isinstance(value, list):
            continue
        if key in _LAYER_NUMBERS:
            section[key] = _renumbered(value, change)
        elif len(value) == before and not key.endswith(_NO_LAYER_LIST):
            section[key] = [value[layer] for layer in _kept(change, all(each == value[0] for each in value))]


def _kept(change: CountChange, is_any: bool) -> Sequence[int]:
    """The old numbers of the layers that are left; the first ones where any will do."""
    if change.kept is not None:
        return change.kept
    if is_any:
        return range(change.layers[1])
    raise ModelError(
        "which layers of the model are left cannot be told, and its configuration has a list of layers",
        "name the model's file itself, and write the configuration by hand",
    )


def _renumbered(layers: list[Any], change: CountChange) -> list[Any]:
    """A list of layers' numbers, by the numbers that these have now."""
    kept = _kept(change, not layers or change.layers[0] == change.layers[1])
    return [new for new, old in enumerate(kept) if old in layers]
