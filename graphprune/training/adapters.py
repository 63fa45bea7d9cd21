"""LoRA: low-rank adapters beside the dense layers, trained in their place and merged into them at the end.

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2022; scale and dropout as in AMP (methods.md 5).
The package peft carries it out.
"""

from __future__ import annotations

import importlib
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from torch import fx, nn

from graphprune.errors import ModelError, RuntimeMissing
from graphprune.torch_bridge.modules import Projection
from graphprune.torch_bridge.record import remember, remembered

_SCALE = 2  # alpha over rank: AMP has rank 8, alpha 16


def adapt(
    module: fx.GraphModule,
    rank: int,
    *,
    alpha: float | None = None,
    dropout: float = 0.05,
    weights: Collection[str] | None = None,
    last: bool = True,
) -> Any:
    """Freeze ``module`` and put adapters of ``rank`` beside its dense layers, in place;
    returns peft's handle to :func:`merge`.

    Layers that share a weight with another are left as they are: what is merged into one would change the other.
    ``weights`` are the initialisers whose layers are meant, None: all. Without ``last`` layers that give an output have
    none either. Adapters count ``alpha`` over ``rank``, by default twice.

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
    left_out = set() if last else _outputs(module)
    meant = None if weights is None else _layers_of(module, weights)
    names = [
        name
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear | Projection)
        and readers[id(layer.weight)] == 1
        and name not in left_out
        and (meant is None or name in meant)
    ]
    if not names:
        raise ModelError("the model has no dense layer of its own to put LoRA adapters beside", "train without lora")
    _turn(module, [name for name in names if isinstance(module.get_submodule(name), Projection)])
    config = lora.LoraConfig(
        r=rank,
        lora_alpha=_SCALE * rank if alpha is None else alpha,
        lora_dropout=dropout,
        target_modules="|".join(map(re.escape, names)),
    )
    return lora.LoraModel(module, config, "default")


def _outputs(module: fx.GraphModule) -> set[str]:
    """Layers whose result is an output of the network."""
    given = next(node for node in module.graph.nodes if node.op == "output").all_input_nodes
    return {str(node.target) for node in given if node.op == "call_module"}


def _layers_of(module: fx.GraphModule, weights: Collection[str]) -> set[str]:
    """The layers that hold these initialisers."""
    stored = remembered(module) or []
    return {key.rpartition(".")[0] for entry in stored if entry.initialiser in weights for key in entry.keys}


def _turn(module: fx.GraphModule, names: Sequence[str]) -> None:
    """Make layers that keep the file's way round ordinary ones, the only ones that peft knows, of the same memory."""
    for name in names:
        layer = module.get_submodule(name)
        assert isinstance(layer, Projection)  # the caller looked
        inputs, outputs = layer.weight.shape
        plain = nn.Linear(inputs, outputs, bias=layer.bias is not None, device="meta")
        plain.weight = nn.Parameter(layer.weight.detach().t())
        plain.register_parameter("bias", layer.bias)
        parent, _, member = name.rpartition(".")
        setattr(module.get_submodule(parent), member, plain)
    keys = {f"{name}.weight" for name in names}
    stored = remembered(module) or []
    remember(module, [replace(each, layout="transposed") if keys & set(each.keys) else each for each in stored])


def merge(handle: Any) -> nn.Module:
    """Add what the adapters learnt to the weights and take them out; the module is the one that was adapted."""
    module: nn.Module = handle.merge_and_unload()
    return module
