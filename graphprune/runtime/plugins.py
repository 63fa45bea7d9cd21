"""Operators that only another runtime has, such as TensorRT's plugins: who needs to run the model is told at once."""

from __future__ import annotations

from functools import cache

import onnx
import onnx_graphsurgeon as gs

from graphprune.errors import ModelError
from graphprune.ir.model import Model
from graphprune.ir.shape_inference import STANDARD_DOMAINS
from graphprune.runtime.sessions import RuntimeOptions, open_model

_OWN_DOMAINS = ("com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc")


def plugins(model: Model) -> list[gs.Node]:
    """The nodes whose operators neither ONNX nor ONNX Runtime is known to have."""
    return [node for node in model.graph.nodes if _is_plugin(node.domain or "", node.op)]


def require_operators(model: Model, options: RuntimeOptions) -> None:
    """Refuse a model with an operator that the runtime lacks, before any work is done in vain.

    Raises
    ------
    ModelError
        The runtime cannot load the model, and it has such an operator.
    """
    suspects = plugins(model)
    if not suspects:
        return
    try:
        open_model(model, options)
    except ModelError as error:
        node = next((node for node in suspects if node.op in error.message), None)
        if node is None:
            raise
        name = f"{node.domain}::{node.op}" if node.domain else node.op
        raise ModelError(
            f"ONNX Runtime does not have the operator {name} (node {node.name}), so the model cannot be run",
            f"cut the network off before {node.name} (onnx.utils.extract_model) and prune that; "
            "inspect and --dry-run work on the whole",
        ) from None


@cache
def _is_plugin(domain: str, op: str) -> bool:
    if domain in _OWN_DOMAINS:
        return False
    return not onnx.defs.has(op, "" if domain in STANDARD_DOMAINS else domain)
