"""Networks for linear maps: residual branches of which some are linear, so that a map can be what they are."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import onnx

from tests.graphs import Arrays, build

WIDTH = 8


def stream(
    blocks: int, linear: Collection[int] = (), *, post_norm: bool = False, mask: bool = False
) -> onnx.ModelProto:
    """Tokens (N, S, 4) -> (N, S, 3): blocks ``h{i} -> h{i+1}`` of two MatMuls with joins ``join{i}``, a Tanh between
    them but in those that are ``linear``; with ``post_norm`` a LayerNormalization behind each join. With
    ``mask`` an input ``attention_mask`` (N, S) sets padding to zero.
    """
    lines, weights = [f"[stem] e0 = MatMul({'g' if mask else 'x'}, stem_w)"], dict[str, Sequence[int] | np.ndarray]()
    if mask:
        lines.insert(0, "[c] c = Cast<to = 1>(attention_mask) [w] w = Unsqueeze(c, axes) [g] g = Mul(x, w)")
        weights["axes"] = np.array([2])
    weights |= {"stem_w": (4, WIDTH), "head_w": (WIDTH, 3), "gain": (WIDTH,), "offset": (WIDTH,)}
    norm = "LayerNormalization<axis = -1>"
    lines.append(f"[norm] h0 = {norm}(e0, gain, offset)" if post_norm else "[norm] h0 = Mul(e0, gain)")
    for i in range(blocks):
        weights |= {f"a{i}_w": (WIDTH, 3 * WIDTH), f"b{i}_w": (3 * WIDTH, WIDTH), f"b{i}_b": (WIDTH,)}
        lines.append(f"[a{i}] p{i} = MatMul(h{i}, a{i}_w)")
        lines += [] if i in linear else [f"[act{i}] q{i} = Tanh(p{i})"]
        lines.append(f"[b{i}] r{i} = MatMul({'p' if i in linear else 'q'}{i}, b{i}_w) [bb{i}] t{i} = Add(r{i}, b{i}_b)")
        given = f"s{i}" if post_norm else f"h{i + 1}"
        lines.append(f"[join{i}] {given} = Add(h{i}, t{i})")
        lines += [f"[norm{i}] h{i + 1} = {norm}(s{i}, gain, offset)"] if post_norm else []
    lines.append(f"[head] y = MatMul(h{blocks}, head_w)")
    text = " ".join(lines)
    used = {name: value for name, value in weights.items() if name in text}
    inputs = "float[N,S,4] x" + (", int64[N,S] attention_mask" if mask else "")
    return build(f"({inputs}) => (float[N,S,3] y) {{ {text} }}", used)


def tokens(samples: int = 24, seed: int = 0) -> Arrays:
    return {"x": np.random.default_rng(seed).standard_normal((samples, 6, 4)).astype(np.float32)}
