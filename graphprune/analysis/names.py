"""Names for blocks and layers, taken from the names their author gave to weights and nodes.

``stages.0.1.conv1.weight`` and ``stages.0.1.conv2.weight`` make ``stages.0.1``; the TorchScript exporter's
``/layer1/layer1.0/conv1/Conv`` makes ``layer1.0``. Where nothing usable is left, the join's node name serves.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from graphprune.analysis.dataflow import DataFlow, is_weighted
from graphprune.ir.quantised import weight_place

_ATTENTION_OPS = {"Softmax", "Attention", "MultiHeadAttention", "GroupQueryAttention"}


def block_labels(flow: DataFlow, blocks: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """A unique label per block; ``blocks`` maps the join's name to the block's nodes."""
    labels = _shortened({join: _common_prefix(flow, nodes) or join for join, nodes in blocks.items()})
    for refine in (_with_role, _with_join):
        repeated = {label for label, count in Counter(labels.values()).items() if count > 1}
        for join, label in labels.items():
            if label in repeated:
                labels[join] = refine(flow, label, join, blocks[join])
    return labels


def _common_prefix(flow: DataFlow, nodes: Sequence[str]) -> str:
    """What the names of the block's layers begin with, in the first kind of name that every layer has."""
    layers = [name for name in nodes if is_weighted(flow.nodes[name])] or list(nodes)
    for kind in (_weight_path, _scope_path, _node_path):
        paths = [kind(flow, name) for name in layers]
        if all(paths):
            prefix = _shared(paths)
            if prefix:
                return ("/" if kind is _node_path else ".").join(prefix)
    return ""


def layer_label(flow: DataFlow, layers: Sequence[str]) -> str:
    """What the paths of some layers have in common, else the path of the first."""
    paths = [path for path in (layer_path(flow, name) for name in layers) if path]
    return ".".join(_shared(paths) or (layer_path(flow, layers[0]))) or layers[0]


def layer_path(flow: DataFlow, node: str) -> list[str]:
    """The module a layer belongs to, in its author's words: the same for both torch exporters;
    empty where nothing tells.

    A weight tells better than its node, which may bear the name of the normalisation that was folded into it;
    but a table of embeddings is often tied to the last layer and bears its name.
    """
    found = (_weight_path(flow, node), _scope_path(flow, node) or _dotted(_node_path(flow, node)))
    return next(filter(None, reversed(found) if flow.all_nodes[node].op == "Gather" else found), [])


def _dotted(steps: Sequence[str]) -> list[str]:
    """TorchScript's steps as a module path; it repeats a container before its member: ``layer1, layer1.0, conv1``."""
    kept = [step for step, after in zip(steps, [*steps[1:], ""], strict=False) if not after.startswith(f"{step}.")]
    return [part for step in kept for part in step.split(".")]


def _shortened(labels: dict[str, str]) -> dict[str, str]:
    """Cut node paths to the shortest ends that still differ: they repeat every parent's name."""
    paths = {label: label.split("/") for label in labels.values()}
    short: dict[str, str] = {}
    for label, parts in paths.items():
        others = [other for key, other in paths.items() if key != label]
        lengths = range(1, len(parts) + 1)
        kept = next((n for n in lengths if all(other[-n:] != parts[-n:] for other in others)), len(parts))
        short[label] = "/".join(parts[-kept:])
    return {join: short[label] for join, label in labels.items()}


def _weight_path(flow: DataFlow, node: str) -> list[str]:
    """The path of a named parameter: ``stages.0.1.conv1`` of ``stages.0.1.conv1.weight``."""
    reader = flow.all_nodes[node]
    places = [weight_place(reader, operand) for operand in range(len(reader.inputs))]
    for tensor in [place[0].inputs[place[1]] for place in places if place is not None]:
        if "." in tensor.name and not set(":/") & set(tensor.name):
            name: str = tensor.name
            return name.split(".")[:-1]
    return []


def _scope_path(flow: DataFlow, node: str) -> list[str]:
    """The module path that torch's current exporter notes in a node's metadata, e.g.
    ``['', 'model', 'model.layers.0']``.
    """
    proto = flow.model.node_protos.get(node)
    notes = {entry.key: entry.value for entry in proto.metadata_props} if proto else {}
    scopes = re.findall(r"'([^']*)'", notes.get("pkg.torch.onnx.name_scopes", ""))
    return scopes[-2].split(".") if len(scopes) > 1 and scopes[-2] else []


def _node_path(flow: DataFlow, node: str) -> list[str]:
    """The path in TorchScript's node names."""
    return node.strip("/").split("/")[:-1] if node.startswith("/") else []


def _shared(parts: list[list[str]]) -> list[str]:
    shared: list[str] = []
    for column in zip(*parts, strict=False):
        if len(set(column)) > 1:
            break
        shared.append(column[0])
    return shared


def _with_role(flow: DataFlow, label: str, join: str, nodes: Sequence[str]) -> str:
    """Two blocks of one transformer layer share their prefix; the one with a softmax is the attention."""
    has_attention = any(flow.nodes[node].op in _ATTENTION_OPS for node in nodes)
    return f"{label}/{'attention' if has_attention else 'mlp'}"


def _with_join(flow: DataFlow, label: str, join: str, nodes: Sequence[str]) -> str:
    return f"{label}#{join}"
