"""Parts of convolutional networks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.property import loops, sequences
from tests.property.drawing import Drawing, Image, Tokens


def conv(
    d: Drawing, x: Image, channels: int, *, kernel: int = 0, stride: int = 1, group: int = 1, weight: str = ""
) -> Image:
    """A convolution that keeps the space but for its stride, then perhaps a norm and an activation."""
    kernel = kernel or d.pick((1, 3))
    weight = weight or d.maybe_quantised(d.weight(channels, x.channels // group, kernel, kernel), 0)
    bias = [d.weight(channels)] if d.maybe() else []
    out = d.node("Conv", x.name, weight, *bias, group=group, pads=[kernel // 2] * 4, strides=[stride, stride])
    image = Image(out, channels, -(-x.height // stride), -(-x.width // stride))
    return activated(d, batch_norm(d, image) if d.maybe() else image)


def activated(d: Drawing, x: Image) -> Image:
    return Image(d.activate(x.name), x.channels, x.height, x.width) if d.maybe() else x


def batch_norm(d: Drawing, x: Image) -> Image:
    return named(x, d.node("BatchNormalization", x.name, *(d.weight(x.channels) for _ in range(4))))


def named(x: Image, name: str, channels: int = 0) -> Image:
    return Image(name, channels or x.channels, x.height, x.width)


def plain(d: Drawing, x: Image) -> Image:
    return conv(d, x, d.size(), stride=d.pick((1, 2)))


def grouped(d: Drawing, x: Image) -> Image:
    groups = d.pick([g for g in (2, 3, 4) if x.channels % g == 0] or [1])
    return conv(d, x, groups * d.pick((2, 1, 3)), group=groups)


def depthwise(d: Drawing, x: Image) -> Image:
    return conv(d, x, x.channels * d.pick((1, 1, 2)), kernel=3, group=x.channels)


def residual(d: Drawing, x: Image) -> Image:
    """With a projection, or the identity."""
    branch = conv(d, x, d.size())
    if d.maybe():
        width = d.size()
        joined = d.node("Add", conv(d, branch, width).name, conv(d, x, width, kernel=1).name)
    else:
        width = x.channels
        joined = d.node("Add", x.name, conv(d, branch, width).name)
    return activated(d, named(x, joined, width))


def inception(d: Drawing, x: Image) -> Image:
    """Branches side by side, in any order, perhaps with the input."""
    branches = [conv(d, x, d.size()), conv(d, x, d.size())] + ([x] if d.maybe() else [])
    if d.maybe():
        branches.reverse()
    return named(
        x, d.node("Concat", *(b.name for b in branches), axis=d.pick((1, -3))), sum(b.channels for b in branches)
    )


def parted(d: Drawing, x: Image) -> Image:
    """Two pieces of the channels, one goes through a layer; then they are joined again."""
    if x.channels < 2:
        return x
    at = 1 + d.choose(x.channels - 1)
    sizes = (at, x.channels - at)
    if d.maybe():
        first, second = d.split(x.name, 1, sizes)
    else:
        first, second = d.slice(x.name, 1, 0, at, x.channels), d.slice(x.name, 1, at, x.channels, x.channels)
    a, b = named(x, first, sizes[0]), conv(d, named(x, second, sizes[1]), d.pick((sizes[0], d.size())))
    if a.channels == b.channels and d.maybe():
        return named(x, d.node(d.pick(("Add", "Mul")), a.name, b.name), a.channels)
    order = (b, a) if d.maybe() else (a, b)
    return named(x, d.node("Concat", *(i.name for i in order), axis=1), a.channels + b.channels)


def shuffled(d: Drawing, x: Image) -> Image:
    """Channel shuffle."""
    groups = d.pick([g for g in (2, 3, 4) if x.channels % g == 0] or [1])
    apart = d.reshape(x.name, (0, groups, x.channels // groups, x.height, x.width))
    turned = d.node("Transpose", apart, perm=[0, 2, 1, 3, 4])
    return named(x, d.reshape(turned, (0, x.channels, x.height, x.width)))


def squeeze_excite(d: Drawing, x: Image) -> Image:
    pooled = d.node("GlobalAveragePool", x.name) if d.maybe() else d.reduce_mean(x.name, (2, 3))
    inner = conv(d, Image(pooled, x.channels, 1, 1), d.size(), kernel=1)
    gate = d.node("Sigmoid", conv(d, inner, x.channels, kernel=1).name)
    return named(x, d.node("Mul", *((gate, x.name) if d.maybe() else (x.name, gate))))


def pad_shortcut(d: Drawing, x: Image) -> Image:
    """The shortcut of the CIFAR ResNets: every second pixel, channels padded with zeros."""
    before, after = d.choose(3), d.choose(3)
    branch = conv(d, conv(d, x, d.size()), x.channels + before + after, stride=2)
    ends = d.ints(*[np.iinfo(np.int64).max] * 2)
    thin = d.node("Slice", x.name, d.ints(0, 0), ends, d.ints(2, 3), d.ints(2, 2))
    if before + after:
        thin = d.node("Pad", thin, d.ints(0, before, 0, 0, 0, after, 0, 0))
    return named(branch, d.node("Add", branch.name, thin))


def resized(d: Drawing, x: Image) -> Image:
    """Pooling, upsampling, or a transposed convolution, perhaps grouped."""
    kind = d.choose(5)
    if kind == 0 and min(x.height, x.width) > 1:
        op = d.pick(("MaxPool", "AveragePool"))
        name = d.node(op, x.name, kernel_shape=[2, 2], strides=[2, 2])
        return Image(name, x.channels, x.height // 2, x.width // 2)
    if kind == 1 and x.height <= 6:
        name = d.node("Resize", x.name, "", d.floats(1, 1, 2, 2))
        return Image(name, x.channels, 2 * x.height, 2 * x.width)
    if kind == 2 and isinstance(d.batch, int):
        name = d.node("Resize", x.name, "", "", d.ints(d.batch, x.channels, 5, 4))
        return Image(name, x.channels, 5, 4)
    if kind == 3 and x.channels % 4 == 0:
        name = d.node("DepthToSpace", x.name, blocksize=2, mode=d.pick(("DCR", "CRD")))
        return Image(name, x.channels // 4, 2 * x.height, 2 * x.width)
    groups = d.pick([g for g in (1, 2, 3, x.channels) if x.channels % g == 0])
    each = d.pick((1, 2, 3))
    bias = [d.weight(groups * each)] if d.maybe() else []
    name = d.node("ConvTranspose", x.name, d.weight(x.channels, each, 2, 2), *bias, group=groups)
    return Image(name, groups * each, x.height + 1, x.width + 1)


def normed(d: Drawing, x: Image) -> Image:
    """Normalisation over instances, groups or channels."""
    kind = d.choose(5)
    groups = d.pick([g for g in (1, 2, 3, 4) if x.channels % g == 0])
    if kind == 0:
        return named(x, d.node("InstanceNormalization", x.name, d.weight(x.channels), d.weight(x.channels)))
    if kind == 1 and d.opset >= 21:
        parameters = d.weight(x.channels), d.weight(x.channels)
        return named(x, d.node("GroupNormalization", x.name, *parameters, num_groups=groups))
    if kind == 4 and min(x.height, x.width) > 1:  # of equal numbers it makes NaN
        mixed = d.node("Conv", x.name, d.weight(x.channels, x.channels, 3, 3), pads=[1] * 4)
        return named(x, d.node("MeanVarianceNormalization", mixed, axes=[2, 3]))
    if kind == 2:
        apart = d.reshape(x.name, (0, groups, x.channels // groups * x.height * x.width))
        normal = d.node("InstanceNormalization", apart, d.weight(groups), d.weight(groups))
        whole = d.reshape(normal, (0, x.channels, x.height, x.width))
        scaled = d.node("Mul", whole, d.weight(x.channels, 1, 1))
        return named(x, d.node("Add", scaled, d.weight(1, x.channels, 1, 1)))
    last = d.node("Transpose", x.name, perm=[0, 2, 3, 1])
    wide = d.node("MatMul", last, d.weight(x.channels, 2 * x.channels))
    back = d.node("MatMul", d.activate(wide), d.weight(2 * x.channels, x.channels))
    if d.opset >= 17 and d.maybe():
        back = d.node("LayerNormalization", back, d.weight(x.channels), d.weight(x.channels))
    return named(x, d.node("Transpose", back, perm=[0, 3, 1, 2]))


def shared(d: Drawing, x: Image) -> Image:
    """One kernel read twice, so that its readers may want to cut it in different ways."""
    width = d.size()
    weight = d.weight(width, x.channels, 1, 1)
    one = conv(d, x, width, kernel=1, weight=weight)
    if d.maybe():
        two = conv(d, conv(d, x, x.channels), width, kernel=1, weight=weight)
        return named(x, d.node(d.pick(("Add", "Mul")), one.name, two.name), width)
    back = d.node("ConvTranspose", one.name, weight)
    return named(x, d.node("Add", back, conv(d, x, x.channels).name) if d.maybe() else back)


def shared_head(d: Drawing, x: Image) -> Image:
    """Two layers that are read at two levels in the same way, as in a detector."""
    inner, width = d.size(), d.size()
    weights = [d.weight(inner, x.channels, 3, 3), d.weight(inner), d.weight(width, inner, 1, 1)]
    op = d.pick(("AveragePool", "MaxPool"))
    levels = [x.name]
    if min(x.height, x.width) > 1:
        levels.append(d.node(op, x.name, kernel_shape=[2, 2], strides=[2, 2]))
    found = []
    for level in levels:
        hidden = d.node("Relu", d.node("Conv", level, weights[0], weights[1], pads=[1] * 4))
        found.append(d.node("Conv", hidden, weights[2]))
    if len(found) == 1:
        return named(x, found[0], width)
    gate = d.node("GlobalAveragePool", found[1])
    return named(x, d.node(d.pick(("Mul", "Add")), found[0], gate), width)


def scaled_shortcut(d: Drawing, x: Image) -> Image:
    """``s * x + f(x)``, with one factor a channel or one for all."""
    branch = conv(d, conv(d, x, d.size()), x.channels)
    scale = d.weight(x.channels, 1, 1) if d.maybe() else d.floats(0.7)
    scaled = d.node("Mul", *((scale, x.name) if d.maybe() else (x.name, scale)))
    return activated(d, named(x, d.node("Add", *((scaled, branch.name) if d.maybe() else (branch.name, scaled)))))


def summed(d: Drawing, x: Image) -> Image:
    """Several branches in one sum or mean, perhaps with the input itself."""
    branches = [conv(d, conv(d, x, d.size()), x.channels).name for _ in range(2)]
    joined = [x.name, *branches] if d.maybe() else branches
    return activated(d, named(x, d.node(d.pick(("Sum", "Mean", "Max")), *joined)))


def partial_shortcut(d: Drawing, x: Image) -> Image:
    """The input is added to the first channels of a wider branch (ReXNet)."""
    more = d.pick((1, 2, 3))
    branch = conv(d, conv(d, x, d.size()), x.channels + more)
    first = d.slice(branch.name, 1, 0, x.channels, x.channels + more)
    rest = d.slice(branch.name, 1, x.channels, x.channels + more, x.channels + more)
    return named(branch, d.node("Concat", d.node("Add", first, x.name), rest, axis=1))


def strided(d: Drawing, x: Image) -> Image:
    """Every second channel apart from the others, put together in another order."""
    if x.channels % 2:
        return x
    wide = conv(d, x, x.channels)
    end = d.ints(np.iinfo(np.int64).max)
    odd, even = (d.node("Slice", wide.name, d.ints(start), end, d.ints(1), d.ints(2)) for start in (1, 0))
    if d.maybe():
        odd = d.node("Neg", odd)
    return conv(d, named(x, d.node("Concat", odd, even, axis=1)), d.size())


def branched(d: Drawing, x: Image) -> Image:
    """An If on a number of the data, with a small network in each branch that reads what is made outside.

    A sum of squares: a plain sum may be zero but for rounding (behind a norm), which would then choose the branch.
    """
    width = d.size()
    test = d.node("Greater", d.node("ReduceSum", d.node("Mul", x.name, x.name), keepdims=0), d.scalar(30.0))
    bodies = [d.body(lambda: [conv(d, conv(d, x, d.size()), width, kernel=1).name]) for _ in range(2)]
    return named(x, d.node("If", test, then_branch=bodies[0], else_branch=bodies[1]), width)


def looped(d: Drawing, x: Image) -> Image:
    """A few times the same two convolutions, with or without a shortcut, or an If."""
    x = conv(d, x, x.channels, kernel=1)

    def step(state: str) -> str:
        before = named(x, state)
        inner = branched(d, before) if d.choose(3) == 2 else conv(d, before, d.size())
        after = conv(d, inner, x.channels, kernel=1).name
        return d.node("Add", after, state) if d.maybe() else after

    return named(x, loops.looped(d, x.name, step, lambda state: conv(d, named(x, state), x.channels).name))


def attended(d: Drawing, x: Image) -> Image:
    """Every pixel is a token."""
    flat = d.reshape(x.name, (0, x.channels, x.height * x.width))
    tokens = Tokens(d.node("Transpose", flat, perm=[0, 2, 1]), x.channels)
    y = d.pick((sequences.attention, sequences.mlp))(d, tokens)
    back = d.node("Transpose", y.name, perm=[0, 2, 1])
    return named(x, d.reshape(back, (0, x.channels, x.height, x.width)))


PARTS: tuple[Callable[[Drawing, Image], Image], ...] = (
    plain,
    residual,
    inception,
    parted,
    grouped,
    depthwise,
    shuffled,
    squeeze_excite,
    pad_shortcut,
    resized,
    normed,
    shared,
    attended,
    shared_head,
    scaled_shortcut,
    summed,
    partial_shortcut,
    strided,
    branched,
    looped,
)


def _flat(d: Drawing, pooled: str, channels: int) -> str:
    """Four ways to lose two axes of size one."""
    kind = d.choose(4)
    if kind == 0:
        return d.node("Flatten", pooled)
    if kind == 1:
        return d.reshape(pooled, (0, channels))
    return d.node("Squeeze", pooled, d.ints(2, 3)) if kind == 2 else d.reduce_mean(pooled, (2, 3), keep=False)


def finished(d: Drawing, x: Image) -> tuple[str, list[int | str | None]]:
    """A classifier, a map, or a sum."""
    kind = d.choose(5)
    if kind == 0:
        pooled = d.node("GlobalAveragePool", x.name)
        return d.node("Gemm", _flat(d, pooled, x.channels), d.weight(3, x.channels), d.weight(3), transB=1), [
            d.batch,
            3,
        ]
    if kind == 1:
        flat = d.node("Flatten", x.name) if d.maybe() else d.reshape(x.name, (0, x.channels * x.height * x.width))
        return d.node("MatMul", flat, d.weight(x.channels * x.height * x.width, 3)), [d.batch, 3]
    if kind == 2:
        return d.node("ReduceSum", x.name, d.ints(1), keepdims=0), [d.batch, x.height, x.width]
    if kind == 3:
        turned = d.node("Transpose", x.name, perm=[0, 2, 3, 1])
        return d.node("MatMul", turned, d.weight(x.channels, 3)), [d.batch, x.height, x.width, 3]
    return conv(d, x, 2, kernel=1).name, [d.batch, 2, x.height, x.width]
