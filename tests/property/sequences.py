"""Parts of networks on tokens: layers, attention with heads, recurrence."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.property import loops
from tests.property.drawing import Drawing, Tokens


def linear(d: Drawing, x: Tokens, width: int, *, weight: str = "") -> Tokens:
    """MatMul, Einsum or a flattened Gemm; perhaps with a bias."""
    weight = weight or d.maybe_quantised(d.weight(x.width, width), 1)
    if d.choose(3) == 2:
        out = d.node("Einsum", x.name, weight, equation="nsd,de->nse")
    else:
        out = d.node("MatMul", x.name, weight)
    if d.maybe():
        bias = d.weight(width)
        out = d.node("Add", *((bias, out) if d.maybe() else (out, bias)))
    return Tokens(out, width)


def plain(d: Drawing, x: Tokens) -> Tokens:
    y = linear(d, x, d.size())
    return Tokens(d.activate(y.name), y.width)


def mlp(d: Drawing, x: Tokens) -> Tokens:
    inner = linear(d, x, d.size())
    back = linear(d, Tokens(d.activate(inner.name), inner.width), x.width)
    return Tokens(d.node("Add", x.name, back.name), x.width) if d.maybe() else back


def gated(d: Drawing, x: Tokens) -> Tokens:
    """Gated linear unit: two layers, or one that is cut in half."""
    width = d.size()
    if d.maybe():
        gate, up = linear(d, x, width).name, linear(d, x, width).name
    else:
        both = linear(d, x, 2 * width)
        if d.maybe():
            gate, up = d.split(both.name, 2, (width, width))
        else:
            gate, up = d.slice(both.name, 2, 0, width, 2 * width), d.slice(both.name, -1, width, 2 * width, 2 * width)
    return linear(d, Tokens(d.node("Mul", d.node("Sigmoid", gate), up), width), d.pick((x.width, 3)))


def norm(d: Drawing, x: Tokens) -> Tokens:
    """A projection first, so that something stays free."""
    y = mlp(d, x)
    if d.opset >= 17 and d.maybe():
        return Tokens(d.node("LayerNormalization", y.name, d.weight(y.width), d.weight(y.width)), y.width)
    centred = d.node("Sub", y.name, d.reduce_mean(y.name, (-1,)))
    return Tokens(d.node("Mul", centred, d.weight(y.width)), y.width)


def attention(d: Drawing, x: Tokens) -> Tokens:
    """Heads of their own, shared key-value heads (repeated), packed projections, or the fused operator."""
    kv, repeats, depth, depth_v = d.pick((2, 1, 3)), d.pick((1, 2, 3)), d.pick((2, 1, 3)), d.pick((2, 1, 3))
    heads = kv * repeats
    if repeats == 1 and d.maybe():
        q, k, v = _packed(d, x, heads, depth)
        depth_v = depth
    else:
        q = _apart(d, linear(d, x, heads * depth).name, heads, depth)
        k, v = (_apart(d, linear(d, x, kv * width).name, kv, width) for width in (depth, depth_v))
    if d.opset >= 23 and d.maybe():
        scale = {"scale": 0.5} if d.maybe() else {}
        context = d.node("Attention", q, k, v, **scale)
    else:
        if repeats > 1:
            k, v = _repeated(d, k, heads, repeats, depth), _repeated(d, v, heads, repeats, depth_v)
        if d.maybe():
            q = d.node("Mul", q, d.floats(0.5))
        scores = d.node("MatMul", q, d.node("Transpose", k, perm=[0, 1, 3, 2]))
        context = d.node("MatMul", d.node("Softmax", scores, axis=-1), v)
    back = d.node("Transpose", context, perm=[0, 2, 1, 3])
    merged = Tokens(d.reshape(back, (0, 0, heads * depth_v)), heads * depth_v)
    out = linear(d, merged, x.width)
    return Tokens(d.node("Add", x.name, out.name), x.width) if d.maybe() else out


def _apart(d: Drawing, x: str, heads: int, depth: int) -> str:
    return d.node("Transpose", d.reshape(x, (0, 0, heads, depth)), perm=[0, 2, 1, 3])


def _packed(d: Drawing, x: Tokens, heads: int, depth: int) -> list[str]:
    """One layer for q, k and v, which are parted before or after the heads are."""
    width = heads * depth
    packed = linear(d, x, 3 * width).name
    kind = d.choose(3)
    if kind == 0:
        return [_apart(d, part, heads, depth) for part in d.split(packed, 2, (width,) * 3)]
    if kind == 1:
        all_heads = d.node("Transpose", d.reshape(packed, (0, 0, 3, heads, depth)), perm=[2, 0, 3, 1, 4])
        for index in range(3):
            d.weights[f"pick{len(d.nodes)}.{index}"] = np.array(index)
        places = [f"pick{len(d.nodes)}.{index}" for index in range(3)]
        return [d.node("Gather", all_heads, place, axis=0) for place in places]
    per_head = d.reshape(packed, (0, 0, heads, 3 * depth))
    return [d.node("Transpose", part, perm=[0, 2, 1, 3]) for part in d.split(per_head, 3, (depth,) * 3)]


def _repeated(d: Drawing, x: str, heads: int, repeats: int, depth: int) -> str:
    """``repeat_kv``: every key-value head serves several queries."""
    apart = d.node("Unsqueeze", x, d.ints(2))
    if d.maybe():
        wide = d.node("Expand", apart, d.ints(1, 1, repeats, 1, 1))
    elif d.maybe():
        wide = d.node("Tile", apart, d.ints(1, 1, repeats, 1, 1))
    else:
        wide = d.node("Concat", *[apart] * repeats, axis=2)
    return d.node("Reshape", wide, d.ints(0, heads, -1, depth))


def tied(d: Drawing, x: Tokens) -> Tokens:
    """One weight read both ways round."""
    width = d.size()
    weight = d.weight(x.width, width)
    inner = d.activate(linear(d, x, width, weight=weight).name)
    if d.maybe():
        back = d.node("Einsum", inner, weight, equation="nse,de->nsd")
    else:
        back = d.node("MatMul", inner, d.node("Transpose", weight, perm=[1, 0]))
    return Tokens(d.node("Add", back, linear(d, x, x.width).name) if d.maybe() else back, x.width)


def token_conv(d: Drawing, x: Tokens) -> Tokens:
    """A convolution along the sequence, depthwise or not."""
    turned = d.node("Transpose", x.name, perm=[0, 2, 1])
    group = d.pick((x.width, 1))
    out = d.node("Conv", turned, d.weight(x.width, x.width // group, 3), group=group, pads=[1, 1])
    return Tokens(d.node("Transpose", out, perm=[0, 2, 1]), x.width)


def recurrent(d: Drawing, x: Tokens) -> Tokens:
    """Any of the three, one way or both, perhaps with biases; all states are read, perhaps with the last."""
    op, hidden = d.pick(("GRU", "LSTM", "RNN")), d.pick((3, 2, 4))
    direction = d.pick(("forward", "bidirectional", "reverse"))
    rows, ways = {"GRU": 3, "LSTM": 4, "RNN": 1}[op] * hidden, 1 + (direction == "bidirectional")
    inputs = [d.node("Transpose", x.name, perm=[1, 0, 2]), d.weight(ways, rows, x.width), d.weight(ways, rows, hidden)]
    inputs += [d.weight(ways, 2 * rows) if d.maybe() else ""]
    if isinstance(d.batch, int) and d.maybe():  # learned or zero states to begin with, and peepholes
        inputs += ["", *(d.weight(ways, d.batch, hidden) for _ in range(1 + (op == "LSTM")))]
        inputs += [d.weight(ways, 3 * hidden)] if op == "LSTM" and d.maybe() else []
    attributes = {"hidden_size": hidden, "direction": direction}
    attributes |= {"linear_before_reset": 1} if op == "GRU" and d.maybe() else {}
    states, *last = d.nodes_of(op, 3 if op == "LSTM" else 2, *inputs, **attributes)
    back = d.node("Transpose", states, perm=[2, 0, 1, 3])
    if d.maybe():  # the last states are given to every token
        back = d.node("Add", back, d.node("Unsqueeze", d.node("Transpose", last[-1], perm=[1, 0, 2]), d.ints(1)))
    return linear(d, Tokens(d.reshape(back, (0, 0, ways * hidden)), ways * hidden), d.size())


def stacked(d: Drawing, x: Tokens) -> Tokens:
    """Two recurrent layers, each reading all states of the one before."""
    turned, width = d.node("Transpose", x.name, perm=[1, 0, 2]), x.width
    for _ in range(2):
        op, hidden = d.pick(("LSTM", "GRU")), d.pick((3, 2, 4))
        rows = {"GRU": 3, "LSTM": 4}[op] * hidden
        outputs = d.nodes_of(op, 2, turned, d.weight(1, rows, width), d.weight(1, rows, hidden), hidden_size=hidden)
        turned, width = d.node("Squeeze", outputs[0], d.ints(1)), hidden
    return linear(d, Tokens(d.node("Transpose", turned, perm=[1, 0, 2]), width), d.size())


def parallel(d: Drawing, x: Tokens) -> Tokens:
    """Attention and a multilayer perceptron side by side behind one norm, summed either way."""
    normal = norm(d, x) if d.opset >= 17 else x
    one, two = attention(d, normal), linear(d, mlp(d, normal), normal.width)
    first, second = (x.name, one.name) if d.maybe() else (one.name, two.name)
    if normal.width != x.width:
        return one
    third = two.name if second == one.name else x.name
    return Tokens(d.node("Add", d.node("Add", first, second), third), x.width)


def joined(d: Drawing, x: Tokens) -> Tokens:
    """Layers side by side, perhaps taken apart at other places and swapped."""
    one, two = linear(d, x, d.size()), linear(d, x, d.size())
    width = one.width + two.width
    both = d.node("Concat", one.name, two.name, axis=2)
    if d.maybe():
        at = 1 + d.choose(width - 1)
        first, second = d.split(both, 2, (at, width - at))
        both = d.node("Concat", d.activate(second), first, axis=-1)
    return Tokens(both, width)


def class_token(d: Drawing, x: Tokens) -> Tokens:
    """A learned token in front of a fixed batch; it is dropped again behind the next layer."""
    if not isinstance(d.batch, int):
        return plain(d, x)
    wide = d.node("Expand", d.weight(1, 1, x.width), d.ints(d.batch, 1, x.width))
    inner = mlp(d, Tokens(d.node("Concat", wide, x.name, axis=1), x.width))
    return Tokens(d.node("Slice", inner.name, d.ints(1), d.ints(np.iinfo(np.int64).max), d.ints(1)), x.width)


def looped(d: Drawing, x: Tokens) -> Tokens:
    """A few times the same attention or multilayer perceptron, with a layer in front so that something stays free."""
    x = linear(d, x, x.width)
    kind = d.pick((mlp, attention))
    out = loops.looped(
        d,
        x.name,
        lambda state: kind(d, kind(d, Tokens(state, x.width)) if d.maybe() else Tokens(state, x.width)).name,
        lambda state: mlp(d, Tokens(state, x.width)).name,
    )
    return Tokens(out, x.width)


def scanned(d: Drawing, x: Tokens) -> Tokens:
    """Token after token."""
    width = d.size()
    return Tokens(loops.scanned(d, x.name, x.width, width, lambda rows, size, new: _dense(d, rows, size, new)), width)


def _dense(d: Drawing, rows: str, size: int, new: int) -> str:
    if d.maybe():
        return d.node("Gemm", rows, d.weight(size, new), d.weight(new))
    return d.node("MatMul", rows, d.weight(size, new))


PARTS: tuple[Callable[[Drawing, Tokens], Tokens], ...] = (
    plain,
    mlp,
    attention,
    gated,
    joined,
    tied,
    norm,
    token_conv,
    recurrent,
    class_token,
    stacked,
    parallel,
    looped,
    scanned,
)


def finished(d: Drawing, x: Tokens) -> tuple[str, list[int | str | None]]:
    """A classifier on the mean or on the first token, or something for every token."""
    kind = d.choose(4)
    if kind == 0:
        return d.node("Gemm", d.reduce_mean(x.name, (1,), keep=False), d.weight(x.width, 3), d.weight(3)), [d.batch, 3]
    if kind == 1:
        first = f"first{len(d.nodes)}"
        d.weights[first] = np.array(0)
        return d.node("MatMul", d.node("Gather", x.name, first, axis=1), d.weight(x.width, 3)), [d.batch, 3]
    if kind == 2 and isinstance(d.length, int):
        flat = d.node("Flatten", x.name) if d.maybe() else d.reshape(x.name, (0, d.length * x.width))
        return d.node("MatMul", flat, d.weight(d.length * x.width, 3)), [d.batch, 3]
    return d.node("MatMul", x.name, d.weight(x.width, 3)), [d.batch, d.length, 3]
