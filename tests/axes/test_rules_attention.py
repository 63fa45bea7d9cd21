"""Attention: heads go whole, key-value heads with all queries that share them."""

from __future__ import annotations

from tests.axes.attention_graphs import JOIN, SPLIT, apart, layers, widths
from tests.axes.cases import Case, all_of, case, check

_SAME = "q_num_heads = 4, kv_num_heads = 4"
_SHARED = "q_num_heads = 6, kv_num_heads = 2"
CASES = [
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
    case("4d-scaled", layers(SPLIT + "h4 = Attention<scale = 0.5>(q4, k4, v4)" + JOIN), {**widths(4, 3, depth_v=2), **apart(4, 3, depth_v=2)},
         "q:4 q:3 v:2", opset=23),
    case("4d", layers(SPLIT + "h4 = Attention(q4, k4, v4)" + JOIN), {**widths(4, 3), **apart(4, 3)}, "q:4 v:3", opset=23),
    case("4d-grouped", layers(SPLIT + "h4 = Attention<scale = 0.5>(q4, k4, v4)" + JOIN), {**widths(6, 3, kv=2), **apart(6, 3, 2)},
         "q:2 q:3 q:3 v:3", opset=23),
    case("4d-grouped-24-mask", layers(SPLIT + "h4 = Attention<scale = 0.5>(q4, k4, v4, m)" + JOIN, more=", float[N, 1, S, S] m"),
         {**widths(6, 3, kv=2), **apart(6, 3, 2)}, "q:2 q:3 q:3 v:3", opset=24),
    case("3d-with-a-past", layers(f"h, kn, vn = Attention<{_SAME}, scale = 0.5>(q, k, v, , pk, pv)", more=", float[N, 4, P, 3] pk, float[N, 4, P, 3] pv",
         out="float[N, S, 5] y, float[N, 4, T, 3] kn, float[N, 4, T, 3] vn"), widths(4, 3), "", opset=23, frozen={"q:4": "model input"}),
    case("scores-as-output", layers(f"h, , , s = Attention<{_SAME}, scale = 0.5>(q, k, v)", out="float[N, S, 5] y, float[N, 4, S, S] s"), widths(4, 3), "q:3 v:3", opset=23,
         frozen={"q:4": "model output"}),
    case("RotaryEmbedding-3d", layers(f"r = RotaryEmbedding<num_heads = 6>(q, cos, sin, p) t = RotaryEmbedding<num_heads = 2>(k, cos, sin, p) "
         f"h = Attention<{_SHARED}, scale = 0.5>(r, t, v)", more=", int64[N, S] p"), widths(6, 4, kv=2, cos=(7, 2), sin=(7, 2)), "q:2 q:3 v:4", opset=23,
         frozen={"q:4": "turns pairs"}),
    case("RotaryEmbedding-4d", layers(SPLIT + "r4 = RotaryEmbedding(q4, cos, sin, p) t4 = RotaryEmbedding(k4, cos, sin, p) h4 = Attention(r4, t4, v4)" + JOIN,
         more=", int64[N, S] p"), {**widths(6, 4, kv=2, cos=(7, 2), sin=(7, 2)), **apart(6, 4, 2)}, "q:2 q:3 v:4", opset=23,
         frozen={"q:4": "turns pairs"}),
    case("RotaryEmbedding-without-positions", layers(SPLIT + "r4 = RotaryEmbedding<interleaved = 1>(q4, cos, sin) h4 = Attention(r4, k4, v4)" + JOIN).replace("[N, S", "[2, 5"),
         {**widths(4, 4, cos=(2, 5, 2), sin=(2, 5, 2)), **apart(4, 4)}, "q:4 v:4", opset=23, frozen={"q:4": "turns pairs"}, sizes=({},))
]  # fmt: skip  # a table, a row a line


@all_of(CASES)
def test_case(case: Case) -> None:
    check(case)
