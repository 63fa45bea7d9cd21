"""Which constants are trained, and what their author called them.

ONNX does not tell a parameter from a buffer. Here a floating-point constant is a *parameter* when

1. a layer reads it as its weight, bias or scale (convolution, dense layer, norm, embedding, recurrent layer, PRelu), or
2. it has more than one element, its name is one that an author gives to a member of a module (``pos_embed``,
   ``blocks.0.gamma``; not ``val_12``, ``onnx::Add_7``) and not one of those by custom given to what is no weight
   (``inv_freq``, ``mask``, ``cos`` ...), or
3. it is a vector along one axis, added to or multiplied with something that itself depends on a parameter:
   a bias or scale whose name the exporter has lost.

Masks, that is values of -1000 and below or none but one, are never parameters. Everything else is a buffer: scalars,
tables of positions, integers. Buffers without an author's name are left out of the state dict.
"""

from __future__ import annotations

import re

import numpy as np
import torch

_NAME = re.compile(r"[A-Za-z_]\w*|(\w+\.)+[A-Za-z_]\w*")
_MADE_UP = {"val", "const", "constant", "lifted", "lifted_tensor", "scalar", "tensor", "initializer", "onnx", "node"}
_NO_WEIGHT = re.compile(
    r"(inv_freq|(\w+_)?masks?|masked_bias|position_ids|positions|pe|(cos|sin)(_cached?\w*)?|freqs|freqs_cis|rotary\w*"
    r"|running_mean|running_var|num_batches_tracked|mean|std|anchors?|grid|window|alibi|sinusoid\w*|timescale)"
)
_MASK_LIMIT = -1e3


def is_named(name: str) -> bool:
    """Whether an author, not an exporter, gave this name."""
    if not _NAME.fullmatch(name) or name.endswith((".weight_bias", ".weight_scale")):
        return False
    if "." in name:
        return True
    stem = re.sub(r"(_default|_copy)?(_\d+)*$", "", name)
    return stem not in _MADE_UP and not hasattr(torch.ops.aten, stem) and not hasattr(torch, stem)


def is_trained(name: str, values: np.ndarray, *, reader_is_learned: bool) -> bool:
    """Whether a floating constant that no layer claims is a parameter: rules 2 and 3 above."""
    if values.size < 2 or not np.isfinite(values).all() or float(values.min()) <= _MASK_LIMIT:
        return False
    if (values == values.flat[0]).all() and not is_named(name):
        return False
    if is_named(name):
        return not _NO_WEIGHT.fullmatch(name.split(".")[-1])
    return reader_is_learned and sum(dim > 1 for dim in values.shape) == 1


def module_path(name: str, role: str) -> str:
    """The module whose member ``role`` the constant is: ``conv1`` of ``conv1.weight``;
    empty where the name does not say.
    """
    return name[: -len(role) - 1] if is_named(name) and name.endswith(f".{role}") else ""
