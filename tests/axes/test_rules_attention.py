"""Fused attention: heads go whole, key-value heads with all queries that share them."""

from __future__ import annotations

import numpy as np

from tests.axes.cases import Case, Weights, all_of, case, check

MS = {"com.microsoft": 1}


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def layers(attend: str, *, more: str = "", out: str = "float[N, S, 5] y", after: str = "") -> str:
    return (
        f"(float[N, S, 4] x{more}) => ({out}) {{ [q] q = MatMul(x, wq) [k] k = MatMul(x, wk) [v] v = MatMul(x, wv) {attend} "
        f"[out] y = MatMul(h, wo) {after} }}"
    )


def widths(heads: int, depth: int, *, kv: int = 0, depth_v: int = 0, **more: tuple[int, ...]) -> Weights:
    kv, depth_v = kv or heads, depth_v or depth
    return {
        "wq": (4, heads * depth),
        "wk": (4, kv * depth),
        "wv": (4, kv * depth_v),
        "wo": (heads * depth_v, 5),
        **more,
    }


_SPLIT = """q3 = Reshape(q, qs) q4 = Transpose<perm = [0, 2, 1, 3]>(q3) k3 = Reshape(k, ks) k4 = Transpose<perm = [0, 2, 1, 3]>(k3)
    v3 = Reshape(v, vs) v4 = Transpose<perm = [0, 2, 1, 3]>(v3) """
_JOIN = " o = Transpose<perm = [0, 2, 1, 3]>(h4) h = Reshape(o, flat)"


def apart(heads: int, depth: int, kv: int = 0, depth_v: int = 0) -> dict[str, np.ndarray]:
    kv, depth_v = kv or heads, depth_v or depth
    return {
        "qs": ints(0, 0, heads, depth),
        "ks": ints(0, 0, kv, depth),
        "vs": ints(0, 0, kv, depth_v),
        "flat": ints(0, 0, -1),
    }


_SAME = "q_num_heads = 4, kv_num_heads = 4"
_SHARED = "q_num_heads = 6, kv_num_heads = 2"
STANDARD = [
    case("3d-scaled", layers(f"h = Attention<{_SAME}, scale = 0.5>(q, k, v)"), widths(4, 3, depth_v=2), "q:4 q:3 v:2", opset=23),
    case("3d", layers(f"h = Attention<{_SAME}>(q, k, v)"), widths(4, 3, depth_v=2), "q:4 v:2", opset=23,
         frozen={"q:3": "root of its size"}),
    case("3d-grouped", layers(f"h = Attention<{_SHARED}, scale = 0.5>(q, k, v)"), widths(6, 3, kv=2), "q:2 q:3 q:3 v:3", opset=23),
    case("3d-causal-24", layers(f"h = Attention<{_SHARED}, is_causal = 1, softcap = 2.0>(q, k, v)"), widths(6, 3, kv=2), "q:2 q:3 v:3", opset=24),
    case("3d-mask", layers(f"h = Attention<{_SAME}>(q, k, v, m)", more=", float[S, S] m"), widths(4, 3), "q:4 v:3", opset=23),
    case("3d-mask-per-head", layers(f"h = Attention<{_SAME}>(q, k, v, m)"), widths(4, 3, m=(1, 4, 1, 1)), "q:4 v:3", opset=23, sizes=()),
    case("3d-mask-per-head-static", layers(f"h = Attention<{_SAME}>(q, k, v, m)").replace("S", "5"), widths(4, 3, m=(1, 4, 5, 5)), "q:4 v:3", opset=23),
    case("3d-mask-per-grouped-head", layers(f"h = Attention<{_SHARED}>(q, k, v, m)").replace("S", "5"), widths(6, 3, kv=2, m=(1, 6, 5, 5)),
         "q:2 q:3 v:3", opset=23),
    case("3d-mask-per-head-given", layers(f"h = Attention<{_SAME}>(q, k, v, m)", more=", float[N, 4, S, S] m"), widths(4, 3), "v:3", opset=23,
         frozen={"q:4": "model input"}),
    case("4d-scaled", layers(_SPLIT + "h4 = Attention<scale = 0.5>(q4, k4, v4)" + _JOIN), {**widths(4, 3, depth_v=2), **apart(4, 3, depth_v=2)},
         "q:4 q:3 v:2", opset=23),
    case("4d", layers(_SPLIT + "h4 = Attention(q4, k4, v4)" + _JOIN), {**widths(4, 3), **apart(4, 3)}, "q:4 v:3", opset=23),
    case("4d-grouped", layers(_SPLIT + "h4 = Attention<scale = 0.5>(q4, k4, v4)" + _JOIN), {**widths(6, 3, kv=2), **apart(6, 3, 2)},
         "q:2 q:3 q:3 v:3", opset=23),
    case("4d-grouped-24-mask", layers(_SPLIT + "h4 = Attention<scale = 0.5>(q4, k4, v4, m)" + _JOIN, more=", float[N, 1, S, S] m"),
         {**widths(6, 3, kv=2), **apart(6, 3, 2)}, "q:2 q:3 q:3 v:3", opset=24),
    case("3d-with-a-past", layers(f"h, kn, vn = Attention<{_SAME}, scale = 0.5>(q, k, v, , pk, pv)", more=", float[N, 4, P, 3] pk, float[N, 4, P, 3] pv",
         out="float[N, S, 5] y, float[N, 4, T, 3] kn, float[N, 4, T, 3] vn"), widths(4, 3), "", opset=23, frozen={"q:4": "model input"}),
    case("scores-as-output", layers(f"h, , , s = Attention<{_SAME}, scale = 0.5>(q, k, v)", out="float[N, S, 5] y, float[N, 4, S, S] s"), widths(4, 3), "q:3 v:3", opset=23,
         frozen={"q:4": "model output"}),
    case("RotaryEmbedding-3d", layers(f"r = RotaryEmbedding<num_heads = 6>(q, cos, sin, p) t = RotaryEmbedding<num_heads = 2>(k, cos, sin, p) "
         f"h = Attention<{_SHARED}, scale = 0.5>(r, t, v)", more=", int64[N, S] p"), widths(6, 4, kv=2, cos=(7, 2), sin=(7, 2)), "q:2 q:3 v:4", opset=23,
         frozen={"q:4": "turns pairs"}),
    case("RotaryEmbedding-4d", layers(_SPLIT + "r4 = RotaryEmbedding(q4, cos, sin, p) t4 = RotaryEmbedding(k4, cos, sin, p) h4 = Attention(r4, t4, v4)" + _JOIN,
         more=", int64[N, S] p"), {**widths(6, 4, kv=2, cos=(7, 2), sin=(7, 2)), **apart(6, 4, 2)}, "q:2 q:3 v:4", opset=23,
         frozen={"q:4": "turns pairs"}),
    case("RotaryEmbedding-without-positions", layers(_SPLIT + "r4 = RotaryEmbedding<interleaved = 1>(q4, cos, sin) h4 = Attention(r4, k4, v4)" + _JOIN).replace("[N, S", "[2, 5"),
         {**widths(4, 4, cos=(2, 5, 2), sin=(2, 5, 2)), **apart(4, 4)}, "q:4 v:4", opset=23, frozen={"q:4": "turns pairs"}, sizes=({},))
]  # fmt: skip  # a table, a row a line

_PACKED = "(float[N, S, 4] x) => (float[N, S, 5] y) {{ [in] a = MatMul(x, w1) h = com.microsoft.Attention<num_heads = 4{}>(a, w, b{}) [out] y = MatMul(h, wo) }}"
_LENGTHS = ", int32[N, 1] seqlens, int32 total"
FUSED = [
    case("packed", _PACKED.format("", ""), {"w1": (4, 8), "w": (8, 36), "b": (36,), "wo": (12, 5)}, "in:8 Attention_1:4", domains=MS,
         frozen={"Attention_1:3": "depth of a head"}),
    case("packed-with-sizes", _PACKED.format(", qkv_hidden_sizes = [12, 12, 8]", ""), {"w1": (4, 8), "w": (8, 32), "b": (32,), "wo": (8, 5)},
         "in:8 Attention_1:4", domains=MS, frozen={"Attention_1:3": "depth of a head"}),
    case("packed-with-a-bias-per-head", _PACKED.format("", ", , , m").replace("S", "5"),
         {"w1": (4, 8), "w": (8, 36), "b": (36,), "wo": (12, 5), "m": (1, 4, 5, 5)}, "in:8", domains=MS, frozen={"Attention_1:4": "told the heads apart"}),
    case("MultiHeadAttention", layers("h = com.microsoft.MultiHeadAttention<num_heads = 4>(q, k, v)"), widths(4, 3), "q:4", domains=MS,
         frozen={"q:3": "depth of a head"}),
    case("MultiHeadAttention-bias", layers("h = com.microsoft.MultiHeadAttention<num_heads = 4, scale = 0.5>(q, k, v, b)"), widths(4, 4, b=(48,)), "q:4", domains=MS,
         frozen={"q:4": "depth of a head"}),
    case("MultiHeadAttention-mask", layers("h = com.microsoft.MultiHeadAttention<num_heads = 4>(q, k, v, , , m)", more=", float[N, 1, S, S] m"), widths(4, 4), "q:4",
         domains=MS),
    case("MultiHeadAttention-other-values", layers("h = com.microsoft.MultiHeadAttention<num_heads = 4>(q, k, v)"), widths(4, 3, depth_v=2), "q:4", domains=MS),
    case("MultiHeadAttention-packed", "(float[N, S, 4] x) => (float[N, S, 5] y) { [q] q = MatMul(x, w) r = Reshape(q, p) h = com.microsoft.MultiHeadAttention<num_heads = 4>(r) "
         "[out] y = MatMul(h, wo) }", {"w": (4, 36), "p": ints(0, 0, 4, 3, 3), "wo": (12, 5)}, "", domains=MS, frozen={"q:4": "MultiHeadAttention"},
         missing="MultiHeadAttention", sizes=()),
    case("GroupQueryAttention", layers("h, kn, vn = com.microsoft.GroupQueryAttention<num_heads = 6, kv_num_heads = 2>(q, k, v, , , seqlens, total)", more=_LENGTHS),
         widths(6, 8, kv=2), "q:2 q:3", domains=MS, sizes=()),
    case("GroupQueryAttention-past", layers("h, kn, vn = com.microsoft.GroupQueryAttention<num_heads = 6, kv_num_heads = 2>(q, k, v, pk, pv, seqlens, total)",
         more=_LENGTHS + ", float[N, 2, P, 8] pk, float[N, 2, P, 8] pv"), widths(6, 8, kv=2), "q:3", domains=MS, sizes=(),
         frozen={"q:2": "told the heads apart|model input"}),
    case("contrib-RotaryEmbedding", layers("r = com.microsoft.RotaryEmbedding<num_heads = 6>(q, p, cos, sin) t = com.microsoft.RotaryEmbedding<num_heads = 2>(k, p, cos, sin) "
         "h = com.microsoft.GroupQueryAttention<num_heads = 6, kv_num_heads = 2>(r, t, v, , , seqlens, total)", more=_LENGTHS + ", int64[N, S] p"),
         widths(6, 8, kv=2, cos=(7, 4), sin=(7, 4)), "q:2 q:3", domains=MS, sizes=()),
    case("contrib-RotaryEmbedding-for-heads", layers("r = com.microsoft.RotaryEmbedding<num_heads = 4>(q, p, cos, sin) "
         "h = com.microsoft.MultiHeadAttention<num_heads = 4>(r, k, v)", more=", int64[N, S] p"), widths(4, 8, cos=(7, 4), sin=(7, 4)), "q:4", domains=MS),
    case("contrib-RotaryEmbedding-4d", layers(_SPLIT + "r4 = com.microsoft.RotaryEmbedding<num_heads = 4, rotary_embedding_dim = 4>(q4, p, cos, sin) "
         "u = Transpose<perm = [0, 2, 1, 3]>(r4) f = Reshape(u, flat) h = com.microsoft.MultiHeadAttention<num_heads = 4>(f, k, v)",
         more=", int64[N, S] p"), {**widths(4, 8, cos=(7, 2), sin=(7, 2)), **apart(4, 8)}, "q:4", domains=MS),
    case("contrib-RotaryEmbedding-unknown-heads", layers("r = com.microsoft.RotaryEmbedding(q, p, cos, sin) h = com.microsoft.MultiHeadAttention<num_heads = 4>(r, k, v)",
         more=", int64[N, S] p"), widths(4, 8, cos=(7, 4), sin=(7, 4)), "", domains=MS, frozen={"q:32": "this use of RotaryEmbedding"}, missing="RotaryEmbedding"),
]  # fmt: skip  # a table, a row a line
CASES = [*STANDARD, *FUSED]


@all_of(CASES)
def test_case(case: Case) -> None:
    check(case)
