"""The layers of a pruned network that can make up for what is gone, and what each of them should compute.

A layer is a site if its inputs differ from the original's: some were cut, or something before it was cut or removed.
What it should compute is the original's value at the end of the per-channel operations behind it (a bias, BatchNorm):
its
*exit*. Where that goes into a residual join, it should rather compute the original's join minus the shortcut of the
pruned network, so that the branch also pays back the drift that earlier removals left on the stream (``design.md``
2.5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from graphprune.analysis.block_entries import SKIP_NORM_BIAS, has_total, joined, total_of
from graphprune.analysis.dataflow import DataFlow
from graphprune.analysis.names import layer_label
from graphprune.analysis.sizes import Sizes
from graphprune.ir.bodies import all_nodes, owners
from graphprune.ir.model import Model, constant_dims, outer_reads, read_values
from graphprune.ir.node_reading import NodeReading
from graphprune.ir.quantised import weight_place
from graphprune.ir.recurrent_states import RECURRENT

Vector = NDArray[np.float64]

CONVOLUTIONS = ("Conv", "ConvTranspose")
_LAYERS = (*CONVOLUTIONS, "Gemm", "MatMul")

_BATCH_NORM_INPUTS = 5
_MATRIX_RANK = 2


@dataclass(frozen=True)
class Bias:
    """A constant vector that can shift the exit: ``gain`` (channels,) is what one unit of it adds there."""

    node: str
    operand: int
    gain: Vector


@dataclass(frozen=True)
class RepairLayer:
    """A layer and the per-channel operations behind it.

    ``scale`` and ``shift`` (channels,) make the exit out of the weighted sum, ``axis`` counts channels there (-1:
    the last). ``join`` is the residual join it feeds, ``shortcut`` the other operand; empty if it feeds none. Where a
    fused norm adds them and keeps the sum to itself, ``join`` is empty and ``adder`` is that node.
    """

    node: str
    label: str
    reads: str
    exit: str
    chain: tuple[str, ...]
    axis: int
    scale: Vector
    shift: Vector
    bias: Bias | None
    join: str = ""
    shortcut: str = ""
    adder: str = ""

    @property
    def is_joined(self) -> bool:
        """Whether it writes to a residual stream."""
        return bool(self.join or self.adder)


def find_sites(original: Model, pruned: Model, sizes: Sizes) -> list[RepairLayer]:
    """Every site of ``pruned``, in execution order; ``sizes`` are its concrete tensor shapes."""
    flow, changed = pruned.derived(DataFlow), _changed(original, pruned)
    return [
        site_of(flow, node, sizes)
        for node in pruned.graph.nodes
        if node.name in changed and is_layer(node) and is_own(node) and len(sizes.get(node.inputs[0].name, ())) > 1
    ]


def left_alone(original: Model, pruned: Model) -> list[tuple[str, str]]:
    """Layers of ``pruned`` whose inputs have changed, and which no repair can refit: label and reason."""
    flow, changed = pruned.derived(DataFlow), _changed(original, pruned)
    widths = {node.name: node.attrs.get("hidden_size") for node in original.graph.nodes if node.op in RECURRENT}
    alone = [
        (layer_label(flow, [node.name]), "recurrent layers are not refitted")
        for node in pruned.graph.nodes
        if node.op in RECURRENT and (node.name in changed or node.attrs.get("hidden_size") != widths.get(node.name))
    ] + [
        (layer_label(flow, [node.name]), "weights that are quantised stay")
        for node in pruned.graph.nodes
        if node.op in _LAYERS and node.name in changed and _is_rounded(node)
    ]
    inside = owners(pruned.graph)
    return alone + [
        (layer_label(flow, [name]), f"layers in the body of {inside[name].op} are not refitted")
        for name in _cut_in_bodies(original, pruned)
        if is_layer(flow.all_nodes[name]) or flow.all_nodes[name].op in RECURRENT
    ]


def _cut_in_bodies(original: Model, pruned: Model) -> list[str]:
    """The nodes in bodies of ``pruned`` that read a constant of another shape than the original's."""
    before = {node.name: node for node in all_nodes(original.graph)}
    inside = owners(pruned.graph)
    return [
        node.name
        for node in all_nodes(pruned.graph)
        if node.name in inside
        and node.name in before
        and any(_is_other(*pair, {}) for pair in zip(node.inputs, before[node.name].inputs, strict=False))
    ]


def _is_rounded(node: gs.Node) -> bool:
    return not isinstance(node.inputs[1], gs.Constant) and weight_place(node, 1) is not None


def _changed(original: Model, pruned: Model) -> set[str]:
    """The nodes of ``pruned`` whose first input differs from the original's, or has fewer entries."""
    before = {node.name: node for node in original.graph.nodes}
    was = {  # what a tensor of ``pruned`` was called: where blocks go, the name of an output passes to another
        made.name: old.name
        for node in pruned.graph.nodes
        if node.name in before
        for made, old in zip(node.outputs, before[node.name].outputs, strict=False)
    }
    inside, was_inside = owners(pruned.graph), owners(original.graph)
    cut_inside = {inside[name].name for name in _cut_in_bodies(original, pruned)}
    cut_inside |= {holder.name for name, holder in was_inside.items() if name not in inside}  # blocks that went
    changed: set[str] = set()
    found: set[str] = set()
    for node in pruned.graph.nodes:
        theirs = before[node.name].inputs if node.name in before else []
        differs = [
            index >= len(theirs) or tensor.name in changed or _is_other(tensor, theirs[index], was)
            for index, tensor in enumerate(node.inputs)
        ]
        if differs and differs[0]:
            found.add(node.name)
        if any(differs) or node.name in cut_inside or any(tensor.name in changed for tensor in outer_reads(node)):
            changed.update(tensor.name for tensor in node.outputs)
    return found


def _is_other(mine: gs.Tensor, its: gs.Tensor, was: Mapping[str, str]) -> bool:
    """Whether an operand is another tensor than in the original, or a constant of another shape."""
    if isinstance(mine, gs.Constant) and isinstance(its, gs.Constant):
        return constant_dims(mine) != constant_dims(its)
    return bool(was.get(mine.name, mine.name) != its.name)


def is_own(node: gs.Node) -> bool:
    """Whether nobody else reads the weights."""
    return len(node.inputs[1].outputs) == 1


def is_layer(node: gs.Node) -> bool:
    """Whether a node is a layer with constant weights in a layout that can be refitted."""
    reading = NodeReading(node)
    if node.op not in _LAYERS or not reading.is_constant(1):
        return False
    is_conv, dims = node.op in CONVOLUTIONS, reading.dims(1)
    if node.op == "ConvTranspose" and (
        reading.attr("output_shape") or str(reading.attr("auto_pad", "")).startswith("SAME")
    ):
        return False  # the padding follows from the output's size
    if not is_conv and (len(dims) != _MATRIX_RANK or reading.attr("transA", 0)):
        return False
    if not reading.has(2):
        return True
    # what a Gemm adds may be anything
    return reading.is_constant(2) and (is_conv or _is_per_channel(reading.dims(2), _channels(node), -1, 2))


def _channels(node: gs.Node) -> int:
    """Of what a layer writes."""
    dims = constant_dims(node.inputs[1])
    if node.op == "ConvTranspose":
        return int(dims[1] * node.attrs.get("group", 1))
    return int(dims[0 if node.op == "Conv" or node.attrs.get("transB", 0) else 1])


def site_of(flow: DataFlow, node: gs.Node, sizes: Sizes) -> RepairLayer:
    """A layer with what follows it, whether or not its inputs have changed."""
    model = flow.model
    channels = _channels(node)
    axis = 1 if node.op in CONVOLUTIONS else -1
    scale, shift, biases = _own_affine(model, node)
    exit_tensor, chain = node.outputs[0].name, []
    while (link := _only_reader(flow, exit_tensor)) is not None:
        step = _affine(model, link, exit_tensor, channels, axis, len(sizes[exit_tensor]))
        if step is None:
            break
        factors, offsets, operand = step
        scale, shift = scale * factors, shift * factors + offsets
        biases = [Bias(bias.node, bias.operand, bias.gain * factors) for bias in biases]
        if operand is not None:
            biases.append(Bias(link.name, operand, np.ones(channels)))
        chain.append(link.name)
        exit_tensor = link.outputs[0].name
    own = [bias for bias in biases if _is_own_vector(flow.nodes[bias.node].inputs[bias.operand], channels)]
    join, shortcut, adder = _join(flow, node, exit_tensor, sizes)
    return RepairLayer(
        node=node.name,
        label=layer_label(flow, [node.name]),
        reads=node.inputs[0].name,
        exit=exit_tensor,
        chain=tuple(chain),
        axis=axis,
        scale=scale,
        shift=shift,
        bias=own[-1] if own else None,
        join=join,
        shortcut=shortcut,
        adder=adder,
    )


def _own_affine(model: Model, node: gs.Node) -> tuple[Vector, Vector, list[Bias]]:
    """Scale, shift and bias of a layer before anything else."""
    channels, reading = _channels(node), NodeReading(node)
    scale, shift = np.full(channels, float(reading.attr("alpha", 1.0))), np.zeros(channels)
    if not reading.has(2):
        return scale, shift, []
    factor = float(reading.attr("beta", 1.0))
    return scale, factor * _vector(model, node.inputs[2], channels), [Bias(node.name, 2, np.full(channels, factor))]


def affine_of(model: Model, node: gs.Node, chain: Sequence[str]) -> tuple[Vector, Vector]:
    """Scale and shift (channels,) of a convolution with the operations named in ``chain`` behind it,
    whoever else reads.
    """
    scale, shift, _ = _own_affine(model, node)
    nodes = {each.name: each for each in model.graph.nodes}
    tensor = node.outputs[0].name
    for name in chain:
        step = _affine(model, nodes[name], tensor, len(scale), 1, len(constant_dims(node.inputs[1])))
        assert step is not None  # it is one in the pruned network
        scale, shift = scale * step[0], shift * step[0] + step[1]
        tensor = nodes[name].outputs[0].name
    return scale, shift


def _only_reader(flow: DataFlow, tensor: str) -> gs.Node | None:
    """The node that reads ``tensor``, if it is the only one."""
    readers = flow.readers.get(tensor, [])
    is_seen = tensor in flow.outputs or tensor in flow.read_by_subgraphs
    return flow.nodes[readers[0]] if len(readers) == 1 and not is_seen else None


def _affine(
    model: Model, node: gs.Node, tensor: str, channels: int, axis: int, rank: int
) -> tuple[Vector, Vector, int | None] | None:
    """Factors and offsets (channels,) of a per-channel operation, and the operand that is its bias; None for others."""
    ones = np.ones(channels)
    reading = NodeReading(node)
    if node.op == "BatchNormalization" and all(map(reading.is_constant, range(1, _BATCH_NORM_INPUTS))):
        if axis != 1 or reading.attr("training_mode", 0):
            return None
        values = [_vector(model, constant, channels) for constant in node.inputs[1:_BATCH_NORM_INPUTS]]
        gamma, beta, mean, variance = values
        factors = gamma / np.sqrt(variance + reading.attr("epsilon", 1e-5))
        return factors, beta - factors * mean, 2
    if node.op not in ("Add", "Mul"):
        return None
    operand = 1 if node.inputs[0].name == tensor else 0
    if not reading.is_constant(operand) or not _is_per_channel(reading.dims(operand), channels, axis, rank):
        return None
    vector = _vector(model, node.inputs[operand], channels)
    return (ones, vector, operand) if node.op == "Add" else (vector, np.zeros(channels), None)


def _is_per_channel(dims: tuple[int, ...], channels: int, axis: int, rank: int) -> bool:
    """Whether a constant of shape ``dims``, broadcast to ``rank`` axes, differs along the channels at most."""
    if len(dims) > rank:
        return False
    place = len(dims) + (axis if axis < 0 else axis - rank)
    return all(size == 1 or (index == place and size == channels) for index, size in enumerate(dims))


def _is_own_vector(constant: gs.Tensor, channels: int) -> bool:
    dims = constant_dims(constant)
    return len(constant.outputs) == 1 and max(dims, default=1) == channels


def _vector(model: Model, constant: gs.Tensor, channels: int) -> Vector:
    values = np.asarray(read_values(constant, model.folder), np.float64).reshape(-1)
    return np.broadcast_to(values, (channels,))


def _join(flow: DataFlow, node: gs.Node, tensor: str, sizes: Sizes) -> tuple[str, str, str]:
    """The residual join that ``tensor`` feeds, the other operand, if that is known before ``node`` runs, and the norm
    that adds both and tells nobody the sum, if one does.
    """
    link = _only_reader(flow, tensor)
    if link is None or (link.op != "Add" and not (link.op in SKIP_NORM_BIAS and joined(link))):
        return "", "", ""
    bias = SKIP_NORM_BIAS.get(link.op)
    if bias is not None and NodeReading(link).has(bias):  # which is no part of the branch, and in the sum
        return "", "", ""
    other = next((t for t in link.inputs[:2] if t.name != tensor), None)
    if other is None or isinstance(other, gs.Constant) or sizes.get(other.name) != sizes.get(tensor):
        return "", "", ""
    maker = flow.producer.get(other.name)
    if maker is not None and flow.order[maker] > flow.order[node.name]:
        return "", "", ""
    if link.op == "Add":
        return link.outputs[0].name, other.name, ""
    return (total_of(flow, link), other.name, "") if has_total(flow, link) else ("", other.name, link.name)
