"""Decoders with a cache of keys and values, by hand: fused as onnxruntime-genai's builder writes them, and plain.

Both take ``input_ids`` [N, S], ``attention_mask`` [N, T] and ``past_key_values.{i}.key|value`` [N, kv, P, depth], and
give ``logits`` [N, S, vocabulary] and ``present.{i}.key|value``. The MLP is gated, norms have no bias.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx.parser

from tests.graphs import random_weight


@dataclass(frozen=True)
class Sizes:
    """Sizes of a decoder; ``packed`` holds queries, keys and values in one weight (fused style only).

    With ``experts`` each token goes to two of so many: one operator in the fused style, weights picked in the plain.
    """

    layers: int = 3
    heads: int = 4
    kv_heads: int = 2
    depth: int = 16
    neurons: int = 24
    width: int = 32
    vocabulary: int = 40
    positions: int = 64
    packed: bool = True
    experts: int = 0


def fused_decoder(sizes: Sizes = Sizes()) -> onnx.ModelProto:
    """With GroupQueryAttention and SkipSimplifiedLayerNormalization of com.microsoft; rotary positions inside."""
    query, key = sizes.heads * sizes.depth, sizes.kv_heads * sizes.depth
    weights: dict[str, Sequence[int] | np.ndarray] = {
        "embedding": (sizes.vocabulary, sizes.width),
        "head": (sizes.width, sizes.vocabulary),
        "one": np.array([1], np.int64),
        "second": np.array(1, np.int64),
        "cos_cache": _rotary(sizes)[0],
        "sin_cache": _rotary(sizes)[1],
        "norm0": (sizes.width,),
    }
    lines = [
        "lengths = ReduceSum(attention_mask, one)",
        "last = Sub(lengths, one)",
        "seqlens_k = Cast<to = 6>(last)",
        "mask_shape = Shape(attention_mask)",
        "total = Gather(mask_shape, second)",
        "total_length = Cast<to = 6>(total)",
        "stream = Gather(embedding, input_ids)",
        "normed0 = SimplifiedLayerNormalization<axis = -1, epsilon = 0.00001, stash_type = 1>(stream, norm0)",
    ]
    here = "stream"
    for i in range(sizes.layers):
        if sizes.packed:
            weights[f"qkv{i}"] = (sizes.width, query + 2 * key)
            lines.append(f"packed{i} = MatMul(normed{i}, qkv{i})")
            reads = f"packed{i}, absent, absent"
        else:
            weights |= {f"q{i}": (sizes.width, query), f"k{i}": (sizes.width, key), f"v{i}": (sizes.width, key)}
            lines += [f"{each}_{i} = MatMul(normed{i}, {each}{i})" for each in "qkv"]
            reads = f"q_{i}, k_{i}, v_{i}"
        weights |= {f"o{i}": (query, sizes.width), f"post{i}": (sizes.width,), f"norm{i + 1}": (sizes.width,)}
        lines += [
            f"mixed{i}, present_{i}_key, present_{i}_value = com.microsoft.GroupQueryAttention<"
            f"num_heads = {sizes.heads}, kv_num_heads = {sizes.kv_heads}, do_rotary = 1, scale = {sizes.depth**-0.5}>("
            f"{reads}, past_key_values_{i}_key, past_key_values_{i}_value, "
            "seqlens_k, total_length, cos_cache, sin_cache)",
            f"attention{i} = MatMul(mixed{i}, o{i})",
            *_skip_norm(here, f"attention{i}", f"post{i}", f"hidden{i}", f"middle{i}"),
            *(_fused_experts if sizes.experts else _mlp)(i, f"hidden{i}", weights, sizes),
            *_skip_norm(f"middle{i}", f"mlp{i}", f"norm{i + 1}", f"normed{i + 1}", f"stream{i + 1}"),
        ]
        here = f"stream{i + 1}"
    lines.append(f"logits = MatMul(normed{sizes.layers}, head)")
    return _proto(sizes, lines, weights)


def plain_decoder(sizes: Sizes = Sizes()) -> onnx.ModelProto:
    """Of standard operators, no rotary positions; the mask is made from the Shape of the first layer's past."""
    query, key = sizes.heads * sizes.depth, sizes.kv_heads * sizes.depth
    weights: dict[str, Sequence[int] | np.ndarray] = {
        "embedding": (sizes.vocabulary, sizes.width),
        "head": (sizes.width, sizes.vocabulary),
        "zero": np.array(0, np.int64),
        "step": np.array(1, np.int64),
        "second": np.array([1], np.int64),
        "third": np.array([2], np.int64),
        "rows": np.array([1], np.int64),
        "inner": np.array([1, 2], np.int64),
        "far": np.array(-1e9, np.float32),
        "near": np.array(0, np.float32),
        "scale": np.array(sizes.depth**-0.5, np.float32),
        "epsilon": np.array(1e-5, np.float32),
        "two": np.array(2, np.float32),
        "query_shape": np.array([0, 0, sizes.heads, sizes.depth], np.int64),
        "key_shape": np.array([0, 0, sizes.kv_heads, sizes.depth], np.int64),
        "grouped_shape": np.array([0, sizes.heads, -1, sizes.depth], np.int64),
        "merged_shape": np.array([0, 0, query], np.int64),
        "repeats": np.array([1, 1, sizes.heads // sizes.kv_heads, 1, 1], np.int64),
    }
    lines = [
        "ids_shape = Shape(input_ids)",
        "length = Gather(ids_shape, step)",
        "past_shape = Shape(past_key_values_0_key)",  # as optimum's files do
        "two_index = Add(step, step)",
        "past_length = Gather(past_shape, two_index)",
        "total = Add(past_length, length)",
        "columns = Range(zero, total, step)",
        "own = Range(past_length, total, step)",
        "own_rows = Unsqueeze(own, rows)",
        "is_past = LessOrEqual(columns, own_rows)",
        "is_token = Cast<to = 9>(attention_mask)",
        "is_token_row = Unsqueeze(is_token, inner)",
        "is_seen = And(is_past, is_token_row)",
        "bias = Where(is_seen, near, far)",
        "stream = Gather(embedding, input_ids)",
    ]
    here = "stream"
    for i in range(sizes.layers):
        weights |= {f"q{i}": (sizes.width, query), f"k{i}": (sizes.width, key), f"v{i}": (sizes.width, key)}
        weights |= {f"o{i}": (query, sizes.width), f"norm{i}": (sizes.width,), f"post{i}": (sizes.width,)}
        lines += _rms(here, f"norm{i}", f"normed{i}")
        for each, shape in (("q", "query_shape"), ("k", "key_shape"), ("v", "key_shape")):
            lines += [
                f"{each}_{i} = MatMul(normed{i}, {each}{i})",
                f"{each}_heads_{i} = Reshape({each}_{i}, {shape})",
                f"{each}_first_{i} = Transpose<perm = [0, 2, 1, 3]>({each}_heads_{i})",
            ]
        for each, name in (("k", "key"), ("v", "value")):
            lines += [
                f"present_{i}_{name} = Concat<axis = 2>(past_key_values_{i}_{name}, {each}_first_{i})",
                f"{name}_five{i} = Unsqueeze(present_{i}_{name}, third)",
                f"{name}_tiled{i} = Tile({name}_five{i}, repeats)",
                f"{name}_all{i} = Reshape({name}_tiled{i}, grouped_shape)",
            ]
        lines += [
            f"key_turned{i} = Transpose<perm = [0, 1, 3, 2]>(key_all{i})",
            f"scores{i} = MatMul(q_first_{i}, key_turned{i})",
            f"scaled{i} = Mul(scores{i}, scale)",
            f"masked{i} = Add(scaled{i}, bias)",
            f"shares{i} = Softmax<axis = -1>(masked{i})",
            f"mixed_first{i} = MatMul(shares{i}, value_all{i})",
            f"mixed_heads{i} = Transpose<perm = [0, 2, 1, 3]>(mixed_first{i})",
            f"mixed{i} = Reshape(mixed_heads{i}, merged_shape)",
            f"attention{i} = MatMul(mixed{i}, o{i})",
            f"middle{i} = Add({here}, attention{i})",
            *_rms(f"middle{i}", f"post{i}", f"hidden{i}"),
            *(_picked_experts if sizes.experts else _mlp)(i, f"hidden{i}", weights, sizes),
            f"stream{i + 1} = Add(middle{i}, mlp{i})",
        ]
        here = f"stream{i + 1}"
    weights["norm_last"] = (sizes.width,)
    lines += [*_rms(here, "norm_last", "normed_last"), "logits = MatMul(normed_last, head)"]
    return _proto(sizes, lines, weights)


def few_bits(proto: onnx.ModelProto, block: int = 16) -> onnx.ModelProto:
    """A copy with every MatMul by a constant as MatMulNBits of four bits, ``block`` numbers to a scale."""
    small: onnx.ModelProto = onnx.ModelProto.FromString(proto.SerializeToString())
    weights = {tensor.name: tensor for tensor in small.graph.initializer}
    for node in small.graph.node:
        if node.op_type != "MatMul" or node.input[1] not in weights:
            continue
        held = weights.pop(node.input[1])
        values = onnx.numpy_helper.to_array(held).T  # (written, summed)
        blocks = np.pad(values, ((0, 0), (0, -values.shape[1] % block))).reshape(len(values), -1, block)
        scales = np.abs(blocks).max(2) / 7 + 1e-6
        codes = np.clip(np.round(blocks / scales[..., None]) + 8, 0, 15).astype(np.uint8)
        packed = codes[..., ::2] | codes[..., 1::2] << 4
        made = {f"{held.name}_bits": packed, f"{held.name}_scales": scales.astype(np.float32)}
        small.graph.initializer.remove(held)
        small.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in made.items())
        node.op_type, node.domain = "MatMulNBits", "com.microsoft"
        node.input[1:] = list(made)
        sizes = {"K": values.shape[1], "N": len(values), "bits": 4, "block_size": block}
        node.attribute.extend(onnx.helper.make_attribute(name, value) for name, value in sizes.items())
    return small


def _mlp(i: int, here: str, weights: dict[str, Sequence[int] | np.ndarray], sizes: Sizes) -> list[str]:
    weights |= {
        f"gate{i}": (sizes.width, sizes.neurons),
        f"up{i}": (sizes.width, sizes.neurons),
        f"down{i}": (sizes.neurons, sizes.width),
    }
    return [
        f"gate_{i} = MatMul({here}, gate{i})",
        f"up_{i} = MatMul({here}, up{i})",
        f"sigmoid_{i} = Sigmoid(gate_{i})",
        f"silu_{i} = Mul(gate_{i}, sigmoid_{i})",
        f"gated_{i} = Mul(silu_{i}, up_{i})",
        f"mlp{i} = MatMul(gated_{i}, down{i})",
    ]


def _fused_experts(i: int, here: str, weights: dict[str, Sequence[int] | np.ndarray], sizes: Sizes) -> list[str]:
    weights |= {
        f"router{i}": (sizes.width, sizes.experts),
        f"fc1_{i}": (sizes.experts, 2 * sizes.neurons, sizes.width),
        f"fc2_{i}": (sizes.experts, sizes.width, sizes.neurons),
        "rows_experts": np.array([-1, sizes.experts], np.int64),
    }
    attributes = 'k = 2, activation_type = "swiglu", swiglu_fusion = 1, normalize_routing_weights = 1'
    return [
        f"scores_{i} = MatMul({here}, router{i})",
        f"routed_{i} = Reshape(scores_{i}, rows_experts)",
        f"mlp{i} = com.microsoft.MoE<{attributes}>({here}, routed_{i}, fc1_{i}, absent, fc2_{i})",
    ]


def _picked_experts(i: int, here: str, weights: dict[str, Sequence[int] | np.ndarray], sizes: Sizes) -> list[str]:
    weights |= {
        f"router{i}": (sizes.width, sizes.experts),
        f"up{i}": (sizes.experts, sizes.neurons, sizes.width),
        f"down{i}": (sizes.experts, sizes.width, sizes.neurons),
        "chosen": np.array([2], np.int64),
        "token_rows": np.array([-1, sizes.width], np.int64),
        "last_axis": np.array([-1], np.int64),
        "expert_axis": np.array([1], np.int64),
    }
    return [
        f"tokens_{i} = Reshape({here}, token_rows)",
        f"routed_{i} = MatMul(tokens_{i}, router{i})",
        f"all_shares_{i} = Softmax<axis = -1>(routed_{i})",
        f"some_{i}, picked_{i} = TopK(all_shares_{i}, chosen)",
        f"some_sum_{i} = ReduceSum(some_{i}, last_axis)",
        f"mixing_{i} = Div(some_{i}, some_sum_{i})",
        f"up_{i} = Gather(up{i}, picked_{i})",
        f"down_{i} = Gather(down{i}, picked_{i})",
        f"row_{i} = Unsqueeze(tokens_{i}, expert_axis)",
        f"column_{i} = Unsqueeze(row_{i}, last_axis)",
        f"raised_{i} = MatMul(up_{i}, column_{i})",
        f"active_{i} = Relu(raised_{i})",
        f"lowered_{i} = MatMul(down_{i}, active_{i})",
        f"each_{i} = Squeeze(lowered_{i}, last_axis)",
        f"shares_row_{i} = Unsqueeze(mixing_{i}, last_axis)",
        f"weighed_{i} = Mul(each_{i}, shares_row_{i})",
        f"mixed_rows_{i} = ReduceSum<keepdims = 0>(weighed_{i}, expert_axis)",
        f"here_shape_{i} = Shape({here})",
        f"mlp{i} = Reshape(mixed_rows_{i}, here_shape_{i})",
    ]


def _skip_norm(one: str, other: str, weight: str, normed: str, total: str) -> list[str]:
    operator = "com.microsoft.SkipSimplifiedLayerNormalization<epsilon = 0.00001>"
    return [f"{normed}, {normed}_mean, {normed}_deviation, {total} = {operator}({one}, {other}, {weight})"]


def _rms(here: str, weight: str, then: str) -> list[str]:
    return [
        f"{then}_squares = Pow({here}, two)",
        f"{then}_mean = ReduceMean<axes = [-1], keepdims = 1>({then}_squares)",
        f"{then}_safe = Add({then}_mean, epsilon)",
        f"{then}_root = Sqrt({then}_safe)",
        f"{then}_unit = Div({here}, {then}_root)",
        f"{then} = Mul({then}_unit, {weight})",
    ]


def _rotary(sizes: Sizes) -> tuple[np.ndarray, np.ndarray]:
    rates = 10_000.0 ** (-np.arange(0, sizes.depth, 2) / sizes.depth)
    angles = np.arange(sizes.positions)[:, None] * rates
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def _proto(sizes: Sizes, lines: Sequence[str], weights: dict[str, Sequence[int] | np.ndarray]) -> onnx.ModelProto:
    cache = [f"{i}_{each}" for i in range(sizes.layers) for each in ("key", "value")]
    kv, depth = sizes.kv_heads, sizes.depth
    inputs = ["int64[N, S] input_ids", "int64[N, T] attention_mask"]
    inputs += [f"float[N, {kv}, P, {depth}] past_key_values_{each}" for each in cache]
    outputs = [
        f"float[N, S, {sizes.vocabulary}] logits",
        *(f"float[N, {kv}, T, {depth}] present_{each}" for each in cache),
    ]
    header = '<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>'
    text = f"{header} decoder ({', '.join(inputs)}) => ({', '.join(outputs)}) {{ {' '.join(lines)} }}"
    proto = onnx.parser.parse_model(text)
    for node in proto.graph.node:  # the text form knows no dots and nothing left out
        node.input[:] = [_dotted(name) for name in node.input]
        node.output[:] = [_dotted(name) for name in node.output]
    for value in (*proto.graph.input, *proto.graph.output):
        value.name = _dotted(value.name)
    for name, given in weights.items():
        array = given if isinstance(given, np.ndarray) else random_weight(name, given)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return proto


def _dotted(name: str) -> str:
    return "" if name == "absent" else re.sub(r"^(past_key_values|present)_(\d+)_(key|value)$", r"\1.\2.\3", name)
