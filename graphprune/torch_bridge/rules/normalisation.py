"""Normalisation: over the batch, the channels of one sample, groups of channels."""

from __future__ import annotations

import numpy as np
import torch
from torch import fx, nn
from torch.nn import functional

from graphprune.torch_bridge.functions import norms
from graphprune.torch_bridge.rules import CONTRIB, NodeConversion, rule
from graphprune.torch_bridge.values import Value

_BATCH: dict[int, type[nn.Module]] = {
    2: nn.BatchNorm1d,
    3: nn.BatchNorm1d,
    4: nn.BatchNorm2d,
    5: nn.BatchNorm3d,
}
_INSTANCE: dict[int, type[nn.Module]] = {3: nn.InstanceNorm1d, 4: nn.InstanceNorm2d, 5: nn.InstanceNorm3d}


@rule("BatchNormalization")
def batch_norm(node: NodeConversion) -> fx.Node:
    """``x (N, C, ...)`` with scale, bias, mean and variance ``(C)``; the last two are running statistics."""
    if any(map(node.is_read, range(1, len(node.outputs)))):
        node.refuse("its statistics are read by other nodes", "export the model in eval mode")
    epsilon, momentum = node.attr("epsilon", 1e-5), node.attr("momentum", 0.9)
    if not all(node.is_weight(operand, 1) for operand in (1, 2, 3, 4)):
        scale, bias, mean, variance = (node.tensor(operand) for operand in (1, 2, 3, 4))
        return node.call(functional.batch_norm, node.tensor(0), mean, variance, scale, bias, eps=epsilon)
    (channels,) = node.dims(1)
    kind = _BATCH.get(node.rank(0))
    if kind is None:
        node.refuse(f"torch has no BatchNorm for {node.rank(0)} axes")

    def make() -> nn.Module:
        return kind(channels, eps=epsilon, momentum=1 - momentum)

    return node.layer(
        make,
        [node.tensor(0)],
        {"weight": 1, "bias": 2},
        statistics={"running_mean": 3, "running_var": 4},
        options=(epsilon, momentum, kind.__name__),
    )


@rule("InstanceNormalization")
def instance_norm(node: NodeConversion) -> fx.Node:
    """``x (N, C, *space)``; exporters write GroupNorm as one without weights of its own, between two Reshapes."""
    epsilon = node.attr("epsilon", 1e-5)
    kind = _INSTANCE.get(node.rank(0))
    if kind is None or not node.is_weight(1, 1) or not node.is_weight(2, 1):
        return node.call(norms.instance_norm, node.tensor(0), node.tensor(1), node.tensor(2), epsilon)
    (channels,) = node.dims(1)
    if _is_neutral(node):
        return node.module(kind(channels, eps=epsilon), node.tensor(0))

    def make() -> nn.Module:
        return kind(channels, eps=epsilon, affine=True)

    return node.layer(make, [node.tensor(0)], {"weight": 1, "bias": 2}, options=(epsilon, kind.__name__))


def _is_neutral(node: NodeConversion) -> bool:
    """Scale one and shift zero, in constants that nobody named."""
    from graphprune.torch_bridge.weights import is_named

    scale, shift = node.array(1), node.array(2)
    names = node.input_name(1), node.input_name(2)
    return bool(np.all(scale == 1) and np.all(shift == 0)) and not any(map(is_named, names))


@rule("LayerNormalization")
def layer_norm(node: NodeConversion) -> fx.Node:
    """Over the last axes, from ``axis`` on."""
    if any(map(node.is_read, range(1, len(node.outputs)))):
        node.refuse("its mean or deviation is read by other nodes")
    epsilon = node.attr("epsilon", 1e-5)
    axis = node.attr("axis", -1)
    count = -axis if axis < 0 else node.rank(0) - axis
    weights = {"weight": 1, "bias": 2} if node.has(2) else {"weight": 1}
    if not all(node.is_weight(operand) and len(node.dims(operand)) == count for operand in weights.values()):
        bias = node.tensor(2) if node.has(2) else None
        return node.call(norms.layer_norm, node.tensor(0), node.tensor(1), bias, count, epsilon)
    shape = node.dims(1)

    def make() -> nn.Module:
        return nn.LayerNorm(shape, eps=epsilon, bias=node.has(2), device="meta")

    return node.layer(make, [node.tensor(0)], weights, options=epsilon)


@rule("RMSNormalization")
@rule("SimplifiedLayerNormalization")
def rms_norm(node: NodeConversion) -> fx.Node:
    """Over the last axes, from ``axis`` on, without a mean."""
    epsilon = node.attr("epsilon", 1e-5)
    axis = node.attr("axis", -1)
    count = -axis if axis < 0 else node.rank(0) - axis
    if not node.is_weight(1) or len(node.dims(1)) != count:
        return node.call(norms.rms_norm, node.tensor(0), node.tensor(1), count, epsilon)
    shape = node.dims(1)
    return node.layer(
        lambda: nn.RMSNorm(shape, eps=epsilon, device="meta"), [node.tensor(0)], {"weight": 1}, options=epsilon
    )


@rule("SkipLayerNormalization", domain=CONTRIB)
def skip_layer_norm(node: NodeConversion) -> list[Value]:
    """A sum and its LayerNorm; the fourth output is the sum."""
    total = _skip_sum(node, bias=4)
    weights = {"weight": 2, "bias": 3} if node.has(3) else {"weight": 2}
    epsilon = node.attr("epsilon", 1e-5)
    if not all(node.is_weight(operand, 1) for operand in weights.values()):
        shift = node.tensor(3) if node.has(3) else None
        return _skipped(node, node.call(norms.layer_norm, total, node.tensor(2), shift, 1, epsilon), total)
    shape = node.dims(2)
    normed = node.layer(
        lambda: nn.LayerNorm(shape, eps=epsilon, bias=node.has(3), device="meta"), [total], weights, options=epsilon
    )
    return _skipped(node, normed, total)


@rule("SkipSimplifiedLayerNormalization", domain=CONTRIB)
def skip_rms_norm(node: NodeConversion) -> list[Value]:
    """A sum and its norm without a mean; the fourth output is the sum."""
    total = _skip_sum(node, bias=3)
    epsilon = node.attr("epsilon", 1e-5)
    if not node.is_weight(2, 1):
        return _skipped(node, node.call(norms.rms_norm, total, node.tensor(2), 1, epsilon), total)
    shape = node.dims(2)
    normed = node.layer(lambda: nn.RMSNorm(shape, eps=epsilon, device="meta"), [total], {"weight": 2}, options=epsilon)
    return _skipped(node, normed, total)


def _skip_sum(node: NodeConversion, bias: int) -> fx.Node:
    if any(map(node.is_read, (1, 2))):
        node.refuse("its mean or deviation is read by other nodes")
    total = node.call(torch.add, node.tensor(0), node.tensor(1))
    return node.call(torch.add, total, node.tensor(bias)) if node.has(bias) else total


def _skipped(node: NodeConversion, normed: fx.Node, total: fx.Node) -> list[Value]:
    return [normed, *[total] * (len(node.outputs) - 1)]  # nobody reads the two in between


@rule("GroupNormalization", until=20)
def group_norm_per_group(node: NodeConversion) -> fx.Node:
    """One scale and one bias for a group: no layer of torch has it so."""
    epsilon, groups = node.attr("epsilon", 1e-5), node.attr("num_groups")
    return node.call(norms.group_norm_per_group, node.tensor(0), groups, node.tensor(1), node.tensor(2), epsilon)


@rule("GroupNormalization", since=21)
def group_norm(node: NodeConversion) -> fx.Node:
    """Scale and bias per channel."""
    epsilon, groups = node.attr("epsilon", 1e-5), node.attr("num_groups")
    if not node.is_weight(1, 1) or not node.is_weight(2, 1):
        return node.call(functional.group_norm, node.tensor(0), groups, node.tensor(1), node.tensor(2), epsilon)
    return node.layer(
        lambda: nn.GroupNorm(groups, node.dims(1)[0], eps=epsilon, device="meta"),
        [node.tensor(0)],
        {"weight": 1, "bias": 2},
        options=(groups, epsilon),
    )


@rule("LRN")
def local_response_norm(node: NodeConversion) -> fx.Node:
    """Over neighbouring channels."""
    size, alpha, beta, bias = (
        node.attr("size"),
        node.attr("alpha", 1e-4),
        node.attr("beta", 0.75),
        node.attr("bias", 1.0),
    )
    if not size % 2:
        node.refuse("it norms over an even number of channels, which ONNX and torch align differently")
    return node.module(nn.LocalResponseNorm(size, alpha, beta, bias), node.tensor(0))


@rule("LpNormalization")
def lp_norm(node: NodeConversion) -> fx.Node:
    """Divided by the norm along one axis."""
    return node.call(norms.lp_normalise, node.tensor(0), node.attr("p", 2), node.attr("axis", -1))


@rule("MeanVarianceNormalization")
def mean_variance(node: NodeConversion) -> fx.Node:
    """Mean zero and variance one over some axes."""
    return node.call(norms.standardise, node.tensor(0), tuple(node.attr("axes", [0, 2, 3])))
