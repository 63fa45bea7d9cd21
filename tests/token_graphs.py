"""Transformers by hand: attention as MatMul, Reshape and Softmax, and a plain or gated MLP, with weights to slice."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from tests.graphs import build


@dataclass(frozen=True)
class Shape:
    """Sizes of a stack of equal layers; ``kv_heads`` below ``heads`` shares each key and value between queries.

    With ``is_flat`` the output projection, transposed, and the MLP see the tokens of all samples in one row. With
    ``mask`` an int64 input ``attention_mask`` (batch, tokens) hides tokens from the attention, 1 = a token.
    """

    layers: int = 1
    heads: int = 4
    kv_heads: int = 4
    depth: int = 3
    neurons: int = 10
    width: int = 8
    gated: bool = True
    mask: bool = False
    classes: int = 3
    is_flat: bool = False

    @property
    def head_params(self) -> int:
        """Of one removable unit: a head, or a key and value with all the queries that share it."""
        queries = self.heads // self.kv_heads
        return (2 * queries + 2) * self.depth * self.width

    @property
    def neuron_params(self) -> int:
        return (3 if self.gated else 2) * self.width


def transformer(shape: Shape) -> onnx.ModelProto:
    """Tokens (N, S, width) -> scores (N, classes); layer i is named ``l{i}``, its mixed heads ``mix{i}``, its hidden
    activations ``hidden{i}``."""
    lines: list[str] = []
    weights: dict[str, Sequence[int] | np.ndarray] = {
        "heads_shape": np.array([0, 0, shape.kv_heads, shape.heads // shape.kv_heads, shape.depth]),
        "kv_shape": np.array([0, 0, shape.kv_heads, 1, shape.depth]),
        "flat_shape": np.array([0, 0, shape.heads * shape.depth]),
        "scale": np.array(shape.depth**-0.5, np.float32),
        "head_rows": np.array([-1, shape.heads * shape.depth]),
        "rows": np.array([-1, shape.width]),
    }
    inputs = f"float[N,S,{shape.width}] x"
    if shape.mask:
        inputs += ", int64[N,S] attention_mask"
        weights |= {"one": np.array(1, np.float32), "far": np.array(-1e4, np.float32), "mask_axes": np.array([1, 2, 3])}
        lines += [
            "[mask_float] m0 = Cast<to = 1>(attention_mask)",
            "[mask_flip] m1 = Sub(one, m0)",
            "[mask_far] m2 = Mul(m1, far)",
            "[mask_wide] bias = Unsqueeze(m2, mask_axes)",
        ]
    for i in range(shape.layers):
        here, then = "x" if i == 0 else f"h{i}", f"h{i + 1}"
        lines += [*_attention(i, here, shape), *_mlp(i, f"a{i}", then, shape)]
        queries, keys = shape.heads * shape.depth, shape.kv_heads * shape.depth
        weights |= {f"wq{i}": (shape.width, queries), f"wk{i}": (shape.width, keys), f"wv{i}": (shape.width, keys)}
        weights |= {
            f"wo{i}": (shape.width, queries) if shape.is_flat else (queries, shape.width),
            f"wup{i}": (shape.width, shape.neurons),
        }
        weights |= {f"wdown{i}": (shape.neurons, shape.width)}
        weights |= {f"wgate{i}": (shape.width, shape.neurons)} if shape.gated else {}
    weights["w_head"] = (shape.width, shape.classes)
    lines.append(f"[pool] pooled = ReduceMean<axes = [1], keepdims = 0>(h{shape.layers})")
    lines.append("[head] y = MatMul(pooled, w_head)")
    text = " ".join(lines)
    read = {word for word in re.findall(r"\w+", text) if word in weights}
    used = {name: value for name, value in weights.items() if name in read}
    return build(f"({inputs}) => (float[N,{shape.classes}] y) {{ {text} }}", used)


def _attention(i: int, here: str, shape: Shape) -> list[str]:
    """Heads are laid out (samples, shared keys, queries of each, tokens, depth)."""
    lines = []
    for name, target in (("q", "heads_shape"), ("k", "kv_shape"), ("v", "kv_shape")):
        lines += [
            f"[l{i}_{name}] {name}{i} = MatMul({here}, w{name}{i})",
            f"[l{i}_{name}_split] {name}s{i} = Reshape({name}{i}, {target})",
        ]
    lines += [
        f"[l{i}_q_turn] qt{i} = Transpose<perm = [0, 2, 3, 1, 4]>(qs{i})",
        f"[l{i}_k_turn] kt{i} = Transpose<perm = [0, 2, 3, 4, 1]>(ks{i})",
        f"[l{i}_v_turn] vt{i} = Transpose<perm = [0, 2, 3, 1, 4]>(vs{i})",
        f"[l{i}_qk] raw{i} = MatMul(qt{i}, kt{i})",
        f"[l{i}_scaled] scaled{i} = Mul(raw{i}, scale)",
    ]
    if shape.mask:
        lines.append(f"[l{i}_masked] logits{i} = Add(scaled{i}, bias)")
    lines += [
        f"[l{i}_softmax] p{i} = Softmax<axis = -1>({'logits' if shape.mask else 'scaled'}{i})",
        f"[l{i}_av] av{i} = MatMul(p{i}, vt{i})",
        f"[l{i}_turn] avt{i} = Transpose<perm = [0, 3, 1, 2, 4]>(av{i})",
        f"[l{i}_join] mix{i} = Reshape(avt{i}, flat_shape)",
        *_output_projection(i, here, shape),
        f"[l{i}_attended] a{i} = Add({here}, o{i})",
    ]
    return lines


def _output_projection(i: int, here: str, shape: Shape) -> list[str]:
    if not shape.is_flat:
        return [f"[l{i}_o] o{i} = MatMul(mix{i}, wo{i})"]
    return [
        f"[l{i}_o_flat] mixflat{i} = Reshape(mix{i}, head_rows)",
        f"[l{i}_o] oflat{i} = Gemm<transB = 1>(mixflat{i}, wo{i})",
        f"[l{i}_o_shape] oshape{i} = Shape({here})",
        f"[l{i}_o_back] o{i} = Reshape(oflat{i}, oshape{i})",
    ]


def _mlp(i: int, here: str, then: str, shape: Shape) -> list[str]:
    read, written = (f"flat{i}", f"dflat{i}") if shape.is_flat else (here, f"d{i}")
    lines = [f"[l{i}_flat] flat{i} = Reshape({here}, rows)"] if shape.is_flat else []
    lines.append(f"[l{i}_up] up{i} = MatMul({read}, wup{i})")
    if shape.gated:
        lines += [
            f"[l{i}_gate] gate{i} = MatMul({read}, wgate{i})",
            f"[l{i}_sigmoid] sig{i} = Sigmoid(gate{i})",
            f"[l{i}_silu] silu{i} = Mul(gate{i}, sig{i})",
            f"[l{i}_gated] hidden{i} = Mul(silu{i}, up{i})",
        ]
    else:
        lines.append(f"[l{i}_act] hidden{i} = Tanh(up{i})")
    lines.append(f"[l{i}_down] {written} = MatMul(hidden{i}, wdown{i})")
    if shape.is_flat:
        lines += [f"[l{i}_shape] shape{i} = Shape({here})", f"[l{i}_back] d{i} = Reshape(dflat{i}, shape{i})"]
    return [*lines, f"[l{i}_added] {then} = Add({here}, d{i})"]


def tokens(shape: Shape, samples: int = 6, length: int = 5, seed: int = 1) -> dict[str, np.ndarray]:
    """Feeds; with a mask, prompts of different lengths, and noise where they have ended."""
    generator = np.random.default_rng(seed)
    feeds: dict[str, np.ndarray] = {"x": generator.standard_normal((samples, length, shape.width)).astype(np.float32)}
    if shape.mask:
        lengths = 1 + np.arange(samples) % length
        feeds["attention_mask"] = (np.arange(length) < lengths[:, None]).astype(np.int64)
        feeds["x"][feeds["attention_mask"] == 0] *= 50
    return feeds
