"""The numbers of ``config.json`` that follow from the shapes that are left: layers, neurons, heads, experts."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

from graphprune.errors import ModelError, PlanError
from graphprune.model_folder.configs import (
    CountChange,
    edit_config,
    experts_of,
    neurons_of,
    sections,
    set_experts,
    set_neurons,
)
from graphprune.model_folder.json_file import Object

_HEADS = ("num_attention_heads", "n_head", "num_heads")
_KV_HEADS = ("num_key_value_heads", "num_kv_heads", "n_head_kv")
_WIDTH = ("hidden_size", "n_embd", "d_model")
_CHOSEN = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "top_k_experts")
_NEED_A_DIVISOR = ("llama", "gemma", "gpt_neox", "exaone", "deepseek_v2", "arcee", "minicpm3", "internlm3", "jais2")
"""Kinds of models whose configuration transformers refuses where the hidden size is no multiple of the heads."""


def smaller_config(config: Object, layers: int, kept: Sequence[int], shrunk: set[tuple[int, int]]) -> Object:
    """``config`` for the layers ``kept`` of ``layers``, whose axes have shrunk from one size to another each.

    Raises
    ------
    PlanError
        transformers has no number for a size, or refuses it.
    ModelError
        The configuration does not fit the checkpoint.
    """
    new = deepcopy(config)
    section = _decoder(new)
    heads, depth = _heads(section)
    kv_heads = _first(section, _KV_HEADS) or heads
    neurons = neurons_of(new) or 4 * (_first(section, _WIDTH) or 0)
    experts = experts_of(new)
    meanings: dict[str, set[int]] = {"neurons": set(), "heads": set(), "kv_heads": set(), "experts": set()}
    for was, now in shrunk:
        if experts and was == experts:
            meanings["experts"].add(now)
        elif was == neurons:
            meanings["neurons"].add(now)
        elif heads and was == kv_heads * depth and kv_heads != heads:
            meanings["kv_heads"].add(_whole(now, depth, "KV heads"))
        elif heads and was == heads * depth:
            meanings["heads"].add(_whole(now, depth, "heads"))
        elif heads and was == (heads + 2 * kv_heads) * depth:
            continue  # query, key and value in one: what is left of it follows from the other weights
        elif was == 2 * neurons and now % 2 == 0:  # gate and up in one
            meanings["neurons"].add(now // 2)
        else:
            raise PlanError(
                f"an axis of {was} shrinks to {now}, which config.json has no number for", "cut other units"
            )
    if any(len(sizes) > 1 for sizes in meanings.values()):
        raise PlanError(f"parts of a layer shrink to different sizes ({sorted(shrunk)})", "cut other units")
    new_neurons, new_heads, new_kv = (next(iter(meanings[what]), None) for what in ("neurons", "heads", "kv_heads"))
    for left in meanings["experts"]:
        set_experts(new, (experts or 0, left))
        for key in _CHOSEN:
            if isinstance(section.get(key), int):
                section[key] = min(section[key], left)
    if new_neurons is not None:
        if neurons_of(new) is None:
            section["n_inner"] = new_neurons
        set_neurons(new, (neurons, new_neurons))
    if new_heads is not None or new_kv is not None:
        after = new_heads or heads
        new_kv = new_kv or (after if kv_heads == heads else kv_heads)
        if after % new_kv:
            raise PlanError(f"{after} heads would be no multiple of {new_kv} KV heads", "cut whole KV groups")
        _set_heads(section, (heads, after), (kv_heads, new_kv), depth)
    if not edit_config(new, CountChange((layers, len(kept)), tuple(kept))):
        raise ModelError(f"config.json does not speak of the {layers} layers of the checkpoint", "mend the folder")
    return new


def head_size(config: Object) -> int:
    """The size of a head, as ``config.json`` tells it; 0 where it tells none."""
    return _heads(_decoder(config))[1]


def _decoder(config: Object) -> Object:
    return next((part for part in sections(config) if _first(part, _HEADS)), config)


def _first(section: Object, keys: Sequence[str]) -> int | None:
    found = (section.get(key) for key in keys)
    return next(
        (value for value in found if isinstance(value, int) and not isinstance(value, bool) and value > 0), None
    )


def _heads(section: Object) -> tuple[int, int]:
    """Query heads and their size; zeros where the configuration tells none."""
    heads = _first(section, _HEADS) or 0
    depth = _first(section, ("head_dim",)) or (_first(section, _WIDTH) or 0) // max(heads, 1)
    return heads, depth


def _whole(size: int, depth: int, what: str) -> int:
    if size % depth:
        raise PlanError(f"{size} values are no whole number of {what} of {depth}", "cut whole heads")
    return size // depth


def _set_heads(section: Object, heads: tuple[int, int], kv_heads: tuple[int, int], depth: int) -> None:
    """Fewer heads of the same size, which has to be said then."""
    width, kind = _first(section, _WIDTH) or 0, str(section.get("model_type", ""))
    if width % heads[1] and kind.startswith(_NEED_A_DIVISOR):
        fitting = [
            count for count in range(1, heads[0]) if width % count == 0 and count % (heads[0] // kv_heads[0]) == 0
        ]
        raise PlanError(
            f"{heads[1]} heads would be left, and transformers refuses a {kind} whose hidden size ({width}) is no "
            "multiple of them",
            f"leave {' or '.join(map(str, fitting))} heads, or deploy the ONNX file"
            if fitting
            else "cut neurons or layers",
        )
    if "num_attention_heads" not in section:
        raise PlanError(
            f"{kind or 'this model'} derives the size of its heads from their number", "cut neurons or layers"
        )
    section["num_attention_heads"] = heads[1]
    for key in _KV_HEADS:
        if section.get(key) == kv_heads[0]:
            section[key] = kv_heads[1]
    section["head_dim"] = depth
