"""Fused attention of ONNX Runtime: heads go whole, packed or not; its CPU provider does not take all packed forms."""

from __future__ import annotations

import numpy as np

from tests.axes.attention_graphs import SPLIT, apart, ints, layers, widths
from tests.axes.cases import Case, all_of, case, check

MS = {"com.microsoft": 1}
_PACKED = "(float[N, S, 4] x) => (float[N, S, 5] y) {{ [in] a = MatMul(x, w1) h = com.microsoft.Attention<num_heads = 4{}>(a, w, b{}) [out] y = MatMul(h, wo) }}"
_LENGTHS = ", int32[N, 1] seqlens, int32 total"
_AT_FIVE = {"seqlens": np.full(2, 4, np.int32), "total": np.array(5, np.int32)}
CASES = [
    case("packed", _PACKED.format("", ""), {"w1": (4, 8), "w": (8, 36), "b": (36,), "wo": (12, 5)}, "in:8 Attention_1:4", domains=MS,
         frozen={"Attention_1:3": "depth of a head"}),
    case("packed-with-sizes", _PACKED.format(", qkv_hidden_sizes = [12, 12, 8]", ""), {"w1": (4, 8), "w": (8, 32), "b": (32,), "wo": (8, 5)},
         "in:8 Attention_1:4", domains=MS, frozen={"Attention_1:3": "depth of a head"}),
    case("packed-with-a-bias-per-head", _PACKED.format("", ", , , m").replace("S", "5"),
         {"w1": (4, 8), "w": (8, 36), "b": (36,), "wo": (12, 5), "m": (1, 4, 5, 5)}, "in:8 Attention_1:4", domains=MS),
    case("packed-with-a-mask-as-long-as-heads", _PACKED.format("", ", m").replace("S", "4").replace("N", "2"),
         {"w1": (4, 8), "w": (8, 36), "b": (36,), "wo": (12, 5), "m": np.ones((2, 4), np.int32)}, "in:8", domains=MS, frozen={"Attention_1:4": "told the heads apart"}),
    case("packed-with-a-past", "(float[N, S, 4] x, float[2, N, 4, P, 3] past) => (float[N, S, 5] y, float[2, N, 4, T, 3] present) { [in] a = MatMul(x, w1) "
         "h, present = com.microsoft.Attention<num_heads = 4, unidirectional = 1>(a, w, b, , past) [out] y = MatMul(h, wo) }",
         {"w1": (4, 8), "w": (8, 36), "b": (36,), "wo": (12, 5)}, "in:8", domains=MS, frozen={"Attention_1:4": "model input"}),
    case("MultiHeadAttention", layers("h = com.microsoft.MultiHeadAttention<num_heads = 4>(q, k, v)"), widths(4, 3), "q:4", domains=MS,
         frozen={"q:3": "depth of a head"}),
    case("MultiHeadAttention-bias", layers("h = com.microsoft.MultiHeadAttention<num_heads = 4, scale = 0.5>(q, k, v, b)"), widths(4, 4, b=(48,)), "q:4", domains=MS,
         frozen={"q:4": "depth of a head"}),
    case("MultiHeadAttention-mask", layers("h = com.microsoft.MultiHeadAttention<num_heads = 4>(q, k, v, , , m)", more=", float[N, 1, S, S] m"), widths(4, 4), "q:4",
         domains=MS),
    case("MultiHeadAttention-other-values", layers("h = com.microsoft.MultiHeadAttention<num_heads = 4>(q, k, v)"), widths(4, 3, depth_v=2), "q:4", domains=MS),
    case("MultiHeadAttention-packed", "(float[N, S, 4] x) => (float[N, S, 5] y) { [q] q = MatMul(x, w) r = Reshape(q, p) h = com.microsoft.MultiHeadAttention<num_heads = 4>(r) "
         "[out] y = MatMul(h, wo) }", {"w": (4, 36), "p": ints(0, 0, 4, 3, 3), "wo": (12, 5)}, "q:4", domains=MS, frozen={"q:3": "depth of a head"}, sizes=()),
    case("MultiHeadAttention-packed-keys-and-values", "(float[N, S, 4] x) => (float[N, S, 5] y) { [q] q = MatMul(x, wq) [kv] k = MatMul(x, w) r = Reshape(k, p) "
         "h = com.microsoft.MultiHeadAttention<num_heads = 4>(q, r) [out] y = MatMul(h, wo) }", {"wq": (4, 12), "w": (4, 24), "p": ints(0, 0, 4, 2, 3), "wo": (12, 5)},
         "q:4", domains=MS, sizes=()),
    case("MultiHeadAttention-keys-by-head", layers("k3 = Reshape(k, p) k4 = Transpose<perm = [0, 2, 1, 3]>(k3) v3 = Reshape(v, p) v4 = Transpose<perm = [0, 2, 1, 3]>(v3) "
         "h = com.microsoft.MultiHeadAttention<num_heads = 4>(q, k4, v4)"), {**widths(4, 3), "p": ints(0, 0, 4, 3)}, "q:4", domains=MS),
    case("MultiHeadAttention-bias-per-head", layers("h = com.microsoft.MultiHeadAttention<num_heads = 4>(q, k, v, , , m)").replace("S", "5"), widths(4, 3, m=(1, 4, 5, 5)),
         "q:4", domains=MS),
    case("MultiHeadAttention-past", layers("h, kn, vn = com.microsoft.MultiHeadAttention<num_heads = 4>(q, k, v, , , , pk, pv)",
         more=", float[N, 4, P, 3] pk, float[N, 4, P, 3] pv", out="float[N, S, 5] y, float[N, 4, T, 3] kn, float[N, 4, T, 3] vn"), widths(4, 3), "", domains=MS,
         frozen={"q:4": "model input"}),
    case("GroupQueryAttention-packed", "(float[2, 5, 4] x) => (float[2, 5, 5] y) { [in] p = MatMul(x, w) "
         "h, kn, vn = com.microsoft.GroupQueryAttention<num_heads = 6, kv_num_heads = 2>(p, , , , , seqlens, total) [out] y = MatMul(h, wo) }",
         {"w": (4, 80), "wo": (48, 5), **_AT_FIVE}, "in:2 in:3", domains=MS, sizes=({},)),
    case("GroupQueryAttention-packed-bias", "(float[2, 5, 4] x) => (float[2, 5, 5] y) { [in] p = MatMul(x, w) b = Add(p, bias) "
         "h, kn, vn = com.microsoft.GroupQueryAttention<num_heads = 4, kv_num_heads = 4, scale = 0.5>(b, , , , , seqlens, total) [out] y = MatMul(h, wo) }",
         {"w": (4, 96), "bias": (96,), "wo": (32, 5), **_AT_FIVE}, "in:4", domains=MS, sizes=({},)),
    case("GroupQueryAttention-sinks-and-bias", layers("h, kn, vn = com.microsoft.GroupQueryAttention<num_heads = 6, kv_num_heads = 2, smooth_softmax = 1>"
         "(q, k, v, , , seqlens, total, , , , m, s)").replace("N", "2").replace("S", "5"), {**widths(6, 8, kv=2, m=(1, 6, 5, 5), s=(6,)), **_AT_FIVE}, "q:2 q:3", domains=MS,
         sizes=({},)),
    case("GroupQueryAttention", layers("h, kn, vn = com.microsoft.GroupQueryAttention<num_heads = 6, kv_num_heads = 2>(q, k, v, , , seqlens, total)", more=_LENGTHS),
         widths(6, 8, kv=2), "q:2 q:3", domains=MS, sizes=()),
    case("GroupQueryAttention-past", layers("h, kn, vn = com.microsoft.GroupQueryAttention<num_heads = 6, kv_num_heads = 2>(q, k, v, pk, pv, seqlens, total)",
         more=_LENGTHS + ", float[N, 2, P, 8] pk, float[N, 2, P, 8] pv"), widths(6, 8, kv=2), "q:3", domains=MS, sizes=(),
         frozen={"q:2": "model input"}),
    case("contrib-RotaryEmbedding", layers("r = com.microsoft.RotaryEmbedding<num_heads = 6>(q, p, cos, sin) t = com.microsoft.RotaryEmbedding<num_heads = 2>(k, p, cos, sin) "
         "h = com.microsoft.GroupQueryAttention<num_heads = 6, kv_num_heads = 2>(r, t, v, , , seqlens, total)", more=_LENGTHS + ", int64[N, S] p"),
         widths(6, 8, kv=2, cos=(7, 4), sin=(7, 4)), "q:2 q:3", domains=MS, sizes=()),
    case("contrib-RotaryEmbedding-for-heads", layers("r = com.microsoft.RotaryEmbedding<num_heads = 4>(q, p, cos, sin) "
         "h = com.microsoft.MultiHeadAttention<num_heads = 4>(r, k, v)", more=", int64[N, S] p"), widths(4, 8, cos=(7, 4), sin=(7, 4)), "q:4", domains=MS),
    case("contrib-RotaryEmbedding-4d", layers(SPLIT + "r4 = com.microsoft.RotaryEmbedding<num_heads = 4, rotary_embedding_dim = 4>(q4, p, cos, sin) "
         "u = Transpose<perm = [0, 2, 1, 3]>(r4) f = Reshape(u, flat) h = com.microsoft.MultiHeadAttention<num_heads = 4>(f, k, v)",
         more=", int64[N, S] p"), {**widths(4, 8, cos=(7, 2), sin=(7, 2)), **apart(4, 8)}, "q:4", domains=MS),
    case("contrib-RotaryEmbedding-unknown-heads", layers("r = com.microsoft.RotaryEmbedding(q, p, cos, sin) h = com.microsoft.MultiHeadAttention<num_heads = 4>(r, k, v)",
         more=", int64[N, S] p"), widths(4, 8, cos=(7, 4), sin=(7, 4)), "", domains=MS, frozen={"q:32": "this use of RotaryEmbedding"}, missing="RotaryEmbedding"),
]  # fmt: skip  # a table, a row a line


@all_of(CASES)
def test_case(case: Case) -> None:
    check(case)
