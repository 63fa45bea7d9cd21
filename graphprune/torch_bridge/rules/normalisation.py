"""Normalisation: over the batch, the channels of one sample, groups of channels."""

from __future__ import annotations

import numpy as np
from torch import fx, nn
from torch.nn import functional

from graphprune.torch_bridge.functions import norms
from graphprune.torch_bridge.rules import CONTRIB, Site, rule
from graphprune.torch_bridge.values import Value

_BATCH: dict[int, type[nn.Module]] = {
    2: nn.BatchNorm1d,
    3: nn.BatchNorm1d,
    4: nn.BatchNorm2d,
    5: nn.BatchNorm3d,
}
_INSTANCE: dict[int, type[nn.Module]] = {3: nn.InstanceNorm1d, 4: nn.InstanceNorm2d, 5: nn.InstanceNorm3d}


@rule("BatchNormalization")
def batch_norm(site: Site) -> fx.Node:
    """``x (N, C, ...)`` with scale, bias, mean and variance ``(C)``; the last two are running statistics."""
    if any(map(site.is_read, range(1, len(site.node.outputs)))):
        site.refuse("its statistics are read by other nodes", "export the model in eval mode")
    epsilon, momentum = site.attr("epsilon", 1e-5), site.attr("momentum", 0.9)
    if not all(site.is_weight(operand, 1) for operand in (1, 2, 3, 4)):
        scale, bias, mean, variance = (site.tensor(operand) for operand in (1, 2, 3, 4))
        return site.call(functional.batch_norm, site.tensor(0), mean, variance, scale, bias, eps=epsilon)
    (channels,) = site.dims(1)
    kind = _BATCH.get(site.rank(0))
    if kind is None:
        site.refuse(f"torch has no BatchNorm for {site.rank(0)} axes")

    def make() -> nn.Module:
        return kind(channels, eps=epsilon, momentum=1 - momentum)

    return site.layer(
        make,
        [site.tensor(0)],
        {"weight": 1, "bias": 2},
        statistics={"running_mean": 3, "running_var": 4},
        options=(epsilon, momentum, kind.__name__),
    )


@rule("InstanceNormalization")
def instance_norm(site: Site) -> fx.Node:
    """``x (N, C, *space)``; exporters write GroupNorm as one without weights of its own, between two Reshapes."""
    epsilon = site.attr("epsilon", 1e-5)
    kind = _INSTANCE.get(site.rank(0))
    if kind is None or not site.is_weight(1, 1) or not site.is_weight(2, 1):
        return site.call(norms.instance_norm, site.tensor(0), site.tensor(1), site.tensor(2), epsilon)
    (channels,) = site.dims(1)
    if _is_neutral(site):
        return site.module(kind(channels, eps=epsilon), site.tensor(0))

    def make() -> nn.Module:
        return kind(channels, eps=epsilon, affine=True)

    return site.layer(make, [site.tensor(0)], {"weight": 1, "bias": 2}, options=(epsilon, kind.__name__))


def _is_neutral(site: Site) -> bool:
    """Scale one and shift zero, in constants that nobody named."""
    from graphprune.torch_bridge.weights import is_named

    scale, shift = site.array(1), site.array(2)
    names = site.name(1), site.name(2)
    return bool(np.all(scale == 1) and np.all(shift == 0)) and not any(map(is_named, names))


@rule("LayerNormalization")
def layer_norm(site: Site) -> fx.Node:
    """Over the last axes, from ``axis`` on."""
    if any(map(site.is_read, range(1, len(site.node.outputs)))):
        site.refuse("its mean or deviation is read by other nodes")
    epsilon = site.attr("epsilon", 1e-5)
    axis = site.attr("axis", -1)
    count = -axis if axis < 0 else site.rank(0) - axis
    weights = {"weight": 1, "bias": 2} if site.has(2) else {"weight": 1}
    if not all(site.is_weight(operand) and len(site.dims(operand)) == count for operand in weights.values()):
        bias = site.tensor(2) if site.has(2) else None
        return site.call(norms.layer_norm, site.tensor(0), site.tensor(1), bias, count, epsilon)
    shape = site.dims(1)

    def make() -> nn.Module:
        return nn.LayerNorm(shape, eps=epsilon, bias=site.has(2), device="meta")

    return site.layer(make, [site.tensor(0)], weights, options=epsilon)


@rule("RMSNormalization")
@rule("SimplifiedLayerNormalization")
def rms_norm(site: Site) -> fx.Node:
    """Over the last axes, from ``axis`` on, without a mean."""
    epsilon = site.attr("epsilon", 1e-5)
    axis = site.attr("axis", -1)
    count = -axis if axis < 0 else site.rank(0) - axis
    if not site.is_weight(1) or len(site.dims(1)) != count:
        return site.call(norms.rms_norm, site.tensor(0), site.tensor(1), count, epsilon)
    shape = site.dims(1)
    return site.layer(
        lambda: nn.RMSNorm(shape, eps=epsilon, device="meta"), [site.tensor(0)], {"weight": 1}, options=epsilon
    )


@rule("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain=CONTRIB)
def skip_norm(site: Site) -> list[Value]:
    """Refused: what is fused for one runtime is not trained."""
    site.refuse("it is a fusion for one runtime", "give the model as it was exported, before optimisation")


@rule("GroupNormalization", since=21)
def group_norm(site: Site) -> fx.Node:
    """Scale and bias per channel; the older form, per group, is not valid ONNX any more."""
    epsilon, groups = site.attr("epsilon", 1e-5), site.attr("num_groups")
    if not site.is_weight(1, 1) or not site.is_weight(2, 1):
        return site.call(functional.group_norm, site.tensor(0), groups, site.tensor(1), site.tensor(2), epsilon)
    return site.layer(
        lambda: nn.GroupNorm(groups, site.dims(1)[0], eps=epsilon, device="meta"),
        [site.tensor(0)],
        {"weight": 1, "bias": 2},
        options=(groups, epsilon),
    )


@rule("LRN")
def local_response_norm(site: Site) -> fx.Node:
    """Over neighbouring channels."""
    size, alpha, beta, bias = (
        site.attr("size"), site.attr("alpha", 1e-4), site.attr("beta", 0.75), site.attr("bias", 1.0)
    )  # fmt: skip
    if not size % 2:
        site.refuse("it norms over an even number of channels, which ONNX and torch align differently")
    return site.module(nn.LocalResponseNorm(size, alpha, beta, bias), site.tensor(0))


@rule("LpNormalization")
def lp_norm(site: Site) -> fx.Node:
    """Divided by the norm along one axis."""
    return site.call(norms.lp_normalise, site.tensor(0), site.attr("p", 2), site.attr("axis", -1))


@rule("MeanVarianceNormalization")
def mean_variance(site: Site) -> fx.Node:
    """Mean zero and variance one over some axes."""
    return site.call(norms.standardise, site.tensor(0), tuple(site.attr("axes", [0, 2, 3])))
