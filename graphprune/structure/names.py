"""Names for blocks, taken from the names their author gave to weights and nodes.

``stages.0.1.conv1.weight`` and ``stages.0.1.conv2.weight`` make ``stages.0.1``; the TorchScript exporter's
``/layer1/layer1.0/conv1/Conv`` makes ``layer1.0``. Where nothing usable is left, the join's node name serves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import onnx_graphsurgeon as gs

from graphprune.structure.view import View

_ATTENTION_OPS = {"Softmax", "Attention", "MultiHeadAttention", "GroupQueryAttention"}


def block_labels(view: View, blocks: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """A unique label per block; ``blocks`` maps the join's name to the block's nodes."""
    labels = {join: _common_prefix(view, nodes) or join for join, nodes in blocks.items()}
    for refine in (_with_role, _with_join):
        repeated = {label for label, count in Counter(labels.values()).items() if count > 1}
        for join, label in labels.items():
            if label in repeated:
                labels[join] = refine(view, label, join, blocks[join])
    return labels


def _common_prefix(view: View, nodes: Sequence[str]) -> str:
    weights = [
        tensor.name.split(".")
        for node in nodes
        for tensor in view.nodes[node].inputs
        if isinstance(tensor, gs.Constant) and "." in tensor.name and ":" not in tensor.name and "/" not in tensor.name
    ]
    if len(weights) > 1:
        prefix = _shared(weights)
        if prefix:
            return ".".join(prefix)
    paths = [node.strip("/").split("/")[:-1] for node in nodes if node.startswith("/")]
    prefix = _shared(paths) if paths else []
    return prefix[-1] if prefix else ""


def _shared(parts: list[list[str]]) -> list[str]:
    shared: list[str] = []
    for column in zip(*parts, strict=False):
        if len(set(column)) > 1:
            break
        shared.append(column[0])
    return shared


def _with_role(view: View, label: str, join: str, nodes: Sequence[str]) -> str:
    """Two blocks of one transformer layer share their prefix; the one with a softmax is the attention."""
    has_attention = any(view.nodes[node].op in _ATTENTION_OPS for node in nodes)
    return f"{label}/{'attention' if has_attention else 'mlp'}"


def _with_join(view: View, label: str, join: str, nodes: Sequence[str]) -> str:
    return f"{label}#{join}"
