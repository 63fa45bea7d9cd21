"""Cutting the tensors of a module, and the numbers beside them that say how many there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

Indices = tuple[np.ndarray, ...]
"""For each axis of a tensor the indices that stay, ascending."""

_COUNTS = (
    "num_heads",
    "num_attention_heads",
    "n_heads",
    "n_head",
    "nhead",
    "heads",
    "nheads",
    "num_key_value_heads",
    "num_kv_heads",
    "n_kv_heads",
    "num_key_value_groups",
    "n_rep",
    "encoder_attention_heads",
    "decoder_attention_heads",
)
_WIDTHS = ("all_head_size", "inner_dim", "inner_size", "split_size", "attention_head_size_all", "hidden_dim", "kv_dim")


@dataclass(frozen=True)
class Change:
    """A number beside the weights that changes: attribute ``name`` of the module at ``path``."""

    path: str
    name: str
    old: int
    new: int


def cut(module: nn.Module, cuts: Mapping[str, Indices], groups: Mapping[str, int]) -> None:
    """Slice the tensors of ``cuts`` in place;
    ``groups`` has the new group count of the convolutions with these weights.

    A parameter that several modules hold stays one; whether it is trained stays as it was.
    """
    owners = {id(tensor): name for name, tensor in _tensors(module).items()}
    new: dict[int, torch.Tensor] = {}
    changed: list[tuple[str, nn.Module]] = []
    for path, part in module.named_modules():
        for members in (part._parameters, part._buffers):
            for key, tensor in members.items():
                name = owners.get(id(tensor)) if tensor is not None else None
                if tensor is None or name is None or name not in cuts:
                    continue
                if id(tensor) not in new:
                    new[id(tensor)] = _sliced(tensor, cuts[name])
                members[key] = new[id(tensor)]
                changed.append((path, part))
    for path, part in changed:
        refresh(part, groups.get(f"{path}.weight" if path else "weight"))


def _tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    return dict(module.named_parameters()) | dict(module.named_buffers())


def _sliced(tensor: torch.Tensor, indices: Indices) -> torch.Tensor:
    with torch.no_grad():
        values = tensor.detach()
        for axis, kept in enumerate(indices):
            if len(kept) < values.shape[axis]:
                values = values.index_select(axis, torch.from_numpy(kept).to(values.device))
        values = values.clone()
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(values, requires_grad=tensor.requires_grad)
    return values


def refresh(part: nn.Module, groups: int | None) -> None:
    """Bring what a layer says of itself in line with its weights."""
    weight: Any = getattr(part, "weight", None)
    if isinstance(part, _ConvTransposeNd):
        part.groups = groups or part.groups
        part.in_channels, part.out_channels = weight.shape[0], weight.shape[1] * part.groups
    elif isinstance(part, _ConvNd):
        part.groups = groups or part.groups
        part.in_channels, part.out_channels = weight.shape[1] * part.groups, weight.shape[0]
    elif isinstance(part, nn.Linear):
        part.out_features, part.in_features = weight.shape
    elif isinstance(part, nn.Embedding):
        part.num_embeddings, part.embedding_dim = weight.shape
    elif isinstance(part, _NormBase):
        held: Any = weight if weight is not None else part.running_mean
        part.num_features = held.shape[0]
    elif isinstance(part, nn.LayerNorm | nn.RMSNorm):
        part.normalized_shape = tuple(weight.shape)
    elif isinstance(part, nn.GroupNorm):
        part.num_groups = part.num_groups * weight.shape[0] // part.num_channels
        part.num_channels = weight.shape[0]
    elif isinstance(part, nn.PReLU):
        part.num_parameters = weight.shape[0]
    elif isinstance(part, nn.RNNBase):
        first: Any = part.weight_ih_l0
        recurrent: Any = part.weight_hh_l0
        part.input_size, part.hidden_size = first.shape[1], recurrent.shape[1]
        part._flat_weights = [getattr(part, name, None) for name in part._flat_weights_names]
    elif hasattr(part, "nf") and hasattr(part, "nx"):  # the Conv1D of transformers
        part.nx, part.nf = weight.shape


def set_counts(
    module: nn.Module, parts: Sequence[str], sizes: Mapping[int, int], widths: Mapping[int, int]
) -> list[Change]:
    """Change counts of heads, and widths made of them,
    in the modules around ``parts`` whose attributes have known names.
    """
    changes: list[Change] = []
    around = dict.fromkeys(parent for path in parts for parent in _parents(path))
    for path in around:
        owner = module.get_submodule(path)
        for names, numbers in ((_COUNTS, sizes), (_WIDTHS, widths)):
            for name in names:
                value = vars(owner).get(name)
                if type(value) is int and value in numbers and numbers[value] != value:
                    changes.append(Change(path, name, value, numbers[value]))
                    setattr(owner, name, numbers[value])
    return changes


def _parents(path: str) -> list[str]:
    """The module itself and the two around it; never the whole network."""
    steps = path.split(".")
    return [".".join(steps[:count]) for count in range(len(steps), max(0, len(steps) - 3), -1)]
