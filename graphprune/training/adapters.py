"""LoRA: low-rank adapters beside the dense layers, trained in their place and merged into them at the end.

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2022; scale and dropout as in AMP (methods.md 5).
The package peft carries it out.
"""

from __future__ import annotations

import importlib
import re
from collections import Counter
from typing import Any

from torch import nn

from graphprune.errors import ModelError, RuntimeMissing

_SCALE = 2  # alpha over rank: AMP has rank 8, alpha 16
_DROPOUT = 0.05


def adapt(module: nn.Module, rank: int) -> Any:
    """Freeze ``module`` and put adapters of ``rank`` beside its dense layers, in place;
    returns peft's handle to :func:`merge`.

    Layers that share a weight with another are left as they are: what is merged into one would change the other.

    Raises
    ------
    RuntimeMissing
        peft is not installed, or does not load.
    ModelError
        There is no dense layer.
    """
    try:
        lora = importlib.import_module("peft.tuners.lora")
    except (ImportError, OSError) as error:
        raise RuntimeMissing(f"peft cannot be imported ({error})", "run: pip install 'graphprune[lora]'") from None
    readers = Counter(id(parameter) for each in module.modules() for parameter in each.parameters(recurse=False))
    names = [
        name
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear) and readers[id(layer.weight)] == 1
    ]
    if not names:
        raise ModelError("the model has no dense layer of its own to put LoRA adapters beside", "train without lora")
    config = lora.LoraConfig(
        r=rank, lora_alpha=_SCALE * rank, lora_dropout=_DROPOUT, target_modules="|".join(map(re.escape, names))
    )
    return lora.LoraModel(module, config, "default")


def merge(handle: Any) -> nn.Module:
    """Add what the adapters learnt to the weights and take them out; the module is the one that was adapted."""
    module: nn.Module = handle.merge_and_unload()
    return module
