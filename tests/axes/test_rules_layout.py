"""Axes moved, merged, split and repeated: Transpose, Reshape and its relatives, Expand, Tile."""

from __future__ import annotations

import numpy as np

from tests.axes.cases import Case, Weights, all_of, between, case, check

W: Weights = {"w1": (4, 12), "w2": (12, 5)}


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def tokens(body: str, *, inputs: str = "float[N, S, 4] x") -> str:
    return f"({inputs}) => (float[N, S, 5] y) {{ [first] a = MatMul(x, w1) {body} [last] y = MatMul(h, w2) }}"


def image(body: str, out: str = "N, 4, 6, 6") -> str:
    return f"(float[N, 3, 6, 6] x) => (float[{out}] y) {{ [first] a = Conv(x, w1) {body} }}"


_HEADS = "r = Reshape(a, {}) t = Transpose<perm = [0, 2, 1, 3]>(r) e = Relu(t) u = Transpose<perm = [0, 2, 1, 3]>(e) h = Reshape(u, {})"
_DYNAMIC = """s = Shape(x) n = Gather(s, zero) t0 = Gather(s, one) n1 = Unsqueeze(n, first_axis) t1 = Unsqueeze(t0, first_axis)
    big = Concat<axis = 0>(n1, t1, three, four) small = Concat<axis = 0>(n1, t1, twelve) """
PARTS: Weights = {
    "zero": np.array(0),
    "one": np.array(1),
    "first_axis": ints(0),
    "three": ints(3),
    "four": ints(4),
    "twelve": ints(12),
}
COUNT: dict[str, np.ndarray] = {"heads": np.array(3), "open": ints(-1), "two": np.array(2)}
_SHUFFLE = "r = Reshape(a, groups) t = Transpose<perm = [0, 2, 1, 3, 4]>(r) h = Reshape(t, back) [last] y = Conv(h, w2)"
_CONV: Weights = {"w1": (12, 3, 1, 1), "w2": (4, 12, 1, 1), "groups": ints(0, 3, 4, 6, 6), "back": ints(0, 12, 6, 6)}


def merged(count: str = "nh = Mul(n, heads)", samples: str = "q = Identity(n)") -> str:
    """Samples and heads made one axis of size ``nh``, and two again, by the number of samples ``q``."""
    return tokens(f"""{_DYNAMIC} r = Reshape(a, big) t = Transpose<perm = [0, 2, 1, 3]>(r) {count} nh1 = Unsqueeze(nh, first_axis)
        one_axis = Concat<axis = 0>(nh1, open, four) m = Reshape(t, one_axis) e = Relu(m) {samples} q1 = Unsqueeze(q, first_axis)
        two_axes = Concat<axis = 0>(q1, three, t1, four) g = Reshape(e, two_axes) u = Transpose<perm = [0, 2, 1, 3]>(g)
        h = Reshape(u, small)""")


CASES = [
    case("Transpose", tokens("t = Transpose<perm = [2, 0, 1]>(a) h = Transpose<perm = [1, 2, 0]>(t)"), W, "first:12"),
    case("Transpose-reverses", "(float[N, 4] x) => (float[5, N] y) { [first] a = MatMul(x, w1) t = Transpose(a) [last] y = MatMul(w2, t) }",
         {"w1": (4, 12), "w2": (5, 12)}, "first:12"),
    case("Reshape-0-and-minus-1", tokens(_HEADS.format("heads", "flat")), {**W, "heads": ints(0, 0, 3, 4), "flat": ints(0, 0, -1)},
         "first:3 first:4"),
    case("Reshape-minus-1-for-heads", tokens(_HEADS.format("heads", "flat")), {**W, "heads": ints(0, 0, -1, 4), "flat": ints(0, 0, 12)},
         "first:3 first:4"),
    case("Reshape-minus-1-for-depth", tokens(_HEADS.format("heads", "flat")), {**W, "heads": ints(0, 0, 3, -1), "flat": ints(0, 0, 12)},
         "first:3 first:4"),
    case("Reshape-minus-1-for-rows", "(float[N, 4] x) => (float[N, 5] y) { [first] a = MatMul(x, w1) r = Reshape(a, heads) "
         "t = Transpose<perm = [1, 0, 2]>(r) e = Relu(t) u = Transpose<perm = [1, 0, 2]>(e) h = Reshape(u, flat) [last] y = MatMul(h, w2) }",
         {**W, "heads": ints(-1, 3, 4), "flat": ints(-1, 12)}, "first:3 first:4"),
    case("Reshape-static", tokens(_HEADS.format("heads", "flat")).replace("[N, S", "[2, 7"),
         {**W, "heads": ints(2, 7, 3, 4), "flat": ints(2, 7, 12)}, "first:3 first:4", sizes=({},)),
    case("Reshape-0-for-a-head", tokens("r = Reshape(a, heads) t = Transpose<perm = [0, 2, 1, 3]>(r) e = Reshape(t, merged) "
         "g = Reshape(e, heads_again) u = Transpose<perm = [0, 2, 1, 3]>(g) h = Reshape(u, flat)").replace("S", "7"),
         {**W, "heads": ints(0, 0, 3, 4), "merged": ints(0, 0, -1), "heads_again": ints(0, 0, 7, 4), "flat": ints(0, 0, -1)},
         "first:3 first:4"),
    case("Reshape-allowzero", tokens(_HEADS.format("heads", "flat").replace("Reshape(a", "Reshape<allowzero = 1>(a")).replace("[N, S", "[2, 7"),
         {**W, "heads": ints(2, 7, -1, 4), "flat": ints(0, 0, -1)}, "first:3 first:4", sizes=({},)),
    case("Reshape-by-computed-sizes", tokens(_DYNAMIC + _HEADS.format("big", "small")), {**W, **PARTS}, "first:3 first:4"),
    case("Reshape-to-samples-times-heads", merged(), {**W, **PARTS, **COUNT}, "first:3 first:4"),
    case("Reshape-to-samples-times-heads-allowzero", merged().replace("Reshape(", "Reshape<allowzero = 1>("), {**W, **PARTS, **COUNT},
         "first:3 first:4"),
    case("Reshape-from-samples-times-heads", merged(samples="s2 = Shape(e) b2 = Gather(s2, zero) q = Div(b2, heads)"),
         {**W, **PARTS, **COUNT}, "first:3 first:4"),
    case("Reshape-by-computed-sizes-allowzero", tokens(_DYNAMIC + _HEADS.format("big", "small").replace("Reshape(", "Reshape<allowzero = 1>(")),
         {**W, **PARTS}, "first:3 first:4"),
    case("Reshape-by-one-list-for-two", tokens(_DYNAMIC + _HEADS.format("big", "small") + " [c] b = MatMul(x, w3) r2 = Reshape(b, big) "
         "z = ReduceMean<axes = [0, 1, 2, 3]>(r2)"), {**W, **PARTS, "w3": (4, 12)}, "first:3 first:4"),
    case("Reshape-by-int32-sizes", tokens("s64 = Shape(x) s = Cast<to = 6>(s64) n = Slice(s, i0, i1, i0) t0 = Slice(s, i1, i2, i0) "
         "big32 = Concat<axis = 0>(n, t0, three, four) big = Cast<to = 7>(big32) small32 = Concat<axis = 0>(n, t0, twelve) small = Cast<to = 7>(small32) "
         + _HEADS.format("big", "small")), {**W, "i0": ints(0), "i1": ints(1), "i2": ints(2), "three": np.array([3], np.int32),
         "four": np.array([4], np.int32), "twelve": np.array([12], np.int32)}, "first:3 first:4"),
    case("Reshape-by-int32-sizes-of-others", "(float[N, S, 4] x) => (float[N, S, 5] y) { r0 = Reshape(x, rows) [first] a = MatMul(r0, w1) s64 = Shape(x) "
         "s = Cast<to = 6>(s64) n = Slice(s, i0, i1, i0) t0 = Slice(s, i1, i2, i0) big32 = Concat<axis = 0>(n, t0, three, four) big = Cast<to = 7>(big32) "
         "r = Reshape(a, big) t = Transpose<perm = [0, 2, 1, 3]>(r) e = Relu(t) u = Transpose<perm = [0, 2, 1, 3]>(e) h = Reshape(u, flat) [last] y = MatMul(h, w2) }",
         {**W, "i0": ints(0), "i1": ints(1), "i2": ints(2), "three": np.array([3], np.int32), "four": np.array([4], np.int32), "rows": ints(-1, 4),
          "flat": ints(0, 0, -1)}, "first:3 first:4"),
    case("Reshape-by-sizes-of-others", "(float[N, S, 4] x) => (float[N, S, 5] y) { r0 = Reshape(x, rows) [first] a = MatMul(r0, w1) s = Shape(x) "
         "n = Slice(s, i0, i1, i0) t0 = Slice(s, i1, i2, i0) big = Concat<axis = 0>(n, t0, three, four) "
         "r = Reshape(a, big) t = Transpose<perm = [0, 2, 1, 3]>(r) e = Relu(t) u = Transpose<perm = [0, 2, 1, 3]>(e) h = Reshape(u, flat) [last] y = MatMul(h, w2) }",
         {**W, "i0": ints(0), "i1": ints(1), "i2": ints(2), "three": ints(3), "four": ints(4), "rows": ints(-1, 4), "flat": ints(0, 0, -1)}, "first:3 first:4"),
    case("Reshape-by-two-sizes-at-once", "(float[N, S, 4] x) => (float[N, S, 5] y) { r0 = Reshape(x, rows) [first] a = MatMul(r0, w1) s = Shape(x) "
         "both = Slice(s, i0, i2, i0) big = Concat<axis = 0>(both, heads) r = Reshape(a, big) t = Transpose<perm = [0, 2, 1, 3]>(r) e = Relu(t) "
         "u = Transpose<perm = [0, 2, 1, 3]>(e) h = Reshape(u, flat) [last] y = MatMul(h, w2) }",
         {**W, "i0": ints(0), "i2": ints(2), "heads": ints(3, 4), "rows": ints(-1, 4), "flat": ints(0, 0, -1)}, "first:3 first:4"),
    case("Reshape-by-a-list-gathered", "(float[N, S, 4] x) => (float[N, S, 5] y) { r0 = Reshape(x, rows) [first] a = MatMul(r0, w1) s = Shape(x) "
         "all = Concat<axis = 0>(heads, s) big = Gather(all, order) r = Reshape(a, big) t = Transpose<perm = [0, 2, 1, 3]>(r) e = Relu(t) "
         "u = Transpose<perm = [0, 2, 1, 3]>(e) h = Reshape(u, flat) [last] y = MatMul(h, w2) }",
         {**W, "heads": ints(3, 4), "order": ints(2, 3, 0, 1), "rows": ints(-1, 4), "flat": ints(0, 0, -1)}, "",
         frozen={"first:3": "size", "first:4": "size"}),
    case("Reshape-by-a-product-of-sizes", tokens("s = Shape(x) n = Gather(s, zero) t0 = Gather(s, one) m = Mul(n, t0) m1 = Unsqueeze(m, first_axis) "
         "rows = Concat<axis = 0>(m1, twelve) f = Reshape(a, rows) [c] g = MatMul(f, w3) n1 = Unsqueeze(n, first_axis) t1 = Unsqueeze(t0, first_axis) "
         "back = Concat<axis = 0>(n1, t1, twelve) h = Reshape(g, back)"), {**W, **PARTS, "w3": (12, 12)}, "first:12 c:12"),
    case("Expand-as-TorchScript-writes-it", tokens("u = Unsqueeze(a, two1) s = Shape(x) n = Slice(s, i0, i1, i0) t0 = Slice(s, i1, two1, i0) "
         "want = Concat<axis = 0>(n, t0, three, twelve) count = ConstantOfShape<value = int64[1] {1}>(four) less = Mul(count, minus) is = Equal(want, less) "
         "target = Where(is, count, want) e = Expand(u, target) g = Mul(e, gate) h0 = ReduceMean<axes = [2], keepdims = 0>(g) h = Relu(h0)"),
         {**W, "two1": ints(2), "i0": ints(0), "i1": ints(1), "three": ints(3), "twelve": ints(12), "four": ints(4), "minus": ints(-1), "gate": (3, 12)},
         "first:12"),
    case("Reshape-by-the-shape-of-another", tokens("[c] b = MatMul(x, w3) s = Shape(b) h0 = Reshape(a, s) h = Add(h0, b)"), {**W, "w3": (4, 12)},
         "first:12"),
    case("Reshape-by-a-static-size-read", tokens("s = Shape(a) d = Gather(s, two) k = Div(d, three) k1 = Unsqueeze(k, first_axis) "
         "s2 = Slice(s, zero1, two1, zero1) big = Concat<axis = 0>(s2, three1, k1) small = Concat<axis = 0>(s2, minus) " + _HEADS.format("big", "small")),
         {**W, "two": np.array(2), "three": np.array(3), "three1": ints(3), "zero1": ints(0), "two1": ints(2), "first_axis": ints(0),
          "minus": ints(-1)}, "first:3 first:4"),
    case("Reshape-that-does-not-align", between("r = Reshape(a, odd) e = Transpose<perm = [0, 2, 1]>(r) f = Reshape(e, odder) [last0] h = ReduceMax<axes = [1]>(f)"),
         {"w1": (4, 12), "odd": ints(0, 4, 3), "odder": ints(0, 2, 6), "w2": (6, 5)}, "", frozen={"first:4": "do not align"}),
    case("channel-shuffle", image(_SHUFFLE), _CONV, "first:3 first:4"),
    case("channel-shuffle-before-depthwise", image("r = Reshape(a, groups) t = Transpose<perm = [0, 2, 1, 3, 4]>(r) g = Reshape(t, back) "
         "h = Conv<group = 12>(g, d) [last] y = Conv(h, w2)"), {**_CONV, "d": (12, 1, 1, 1)}, "first:3 first:4"),
    case("channel-shuffle-of-a-concat", image("[c] c = Conv(x, w3) k = Concat<axis = 1>(a, c) r = Reshape(k, groups) t = Transpose<perm = [0, 2, 1, 3, 4]>(r) "
         "h = Reshape(t, back) [last] y = Conv(h, w2)"), {"w1": (6, 3, 1, 1), "w3": (6, 3, 1, 1), "w2": (4, 12, 1, 1), "groups": ints(0, 2, 6, 6, 6),
         "back": ints(0, 12, 6, 6)}, "first:6"),
    case("Flatten", image("h = Flatten(a) [last] y = Gemm(h, w2)", "N, 5"), {"w1": (12, 3, 1, 1), "w2": (432, 5)}, "first:12"),
    case("Flatten-of-axis-2", tokens("f = Flatten<axis = 2>(a) [c] g = MatMul(f, w3) h = Reshape(g, back)").replace("[N, S", "[2, 7"),
         {"w1": (4, 12), "w3": (12, 6), "w2": (6, 5), "back": ints(2, 7, 6)}, "first:12 c:6", sizes=({},)),
    case("Flatten-of-a-concat", image("[c] c = Conv(x, w3) k = Concat<axis = 1>(a, c) h = Flatten(k) [last] y = Gemm(h, w2)", "N, 5"),
         {"w1": (8, 3, 1, 1), "w3": (4, 3, 1, 1), "w2": (432, 5)}, "first:8 c:4"),
    case("Squeeze-11", image("p = GlobalAveragePool(a) h = Squeeze<axes = [2, 3]>(p) [last] y = Gemm(h, w2)", "N, 5"),
         {"w1": (12, 3, 1, 1), "w2": (12, 5)}, "first:12", opset=11),
    case("Squeeze-13", image("p = GlobalAveragePool(a) h = Squeeze(p, axes) [last] y = Gemm(h, w2)", "N, 5"),
         {"w1": (12, 3, 1, 1), "w2": (12, 5), "axes": ints(-1, 2)}, "first:12"),
    case("Squeeze-all", image("p = GlobalAveragePool(a) h = Squeeze(p) [last] y = Gemm(h, w2)", "N, 5"),
         {"w1": (12, 3, 1, 1), "w2": (12, 5)}, "first:12"),
    case("Unsqueeze-11", between("u = Unsqueeze<axes = [1, 3]>(a) e = Relu(u) h = Squeeze<axes = [1, 3]>(e)"), W, "first:12", opset=11),
    case("Unsqueeze-13", between("u = Unsqueeze(a, axes) e = Relu(u) h = Squeeze(e, axes)"), {**W, "axes": ints(1, -1)}, "first:12"),
    case("Expand", tokens("m = ReduceMean<axes = [1]>(a) s = Shape(a) e = Expand(m, s) h = Add(a, e)"), W, "first:12"),
    case("Expand-by-a-constant", between("u = Unsqueeze(a, axes) e = Expand(u, target) f = Mul(e, gate) h = Flatten(f)"),
         {"w1": (4, 12), "w2": (36, 5), "axes": ints(1), "target": ints(1, 3, 12), "gate": (3, 12)}, "first:12"),
    case("Expand-by-ones", between("u = Unsqueeze(a, axes) e = Expand(u, target) f = Mul(e, gate) h = Flatten(f)"),
         {"w1": (4, 12), "w2": (36, 5), "axes": ints(1), "target": ints(3, 1), "gate": (3, 12)}, "first:12"),
    case("Expand-of-a-token", tokens("s = Shape(x) n = Slice(s, i0, i1, i0) t = Concat<axis = 0>(n, i1, width) c = Expand(token, t) "
         "k = Concat<axis = 1>(c, a) h = Slice(k, i1, most, i1)"), {**W, "token": (1, 1, 12), "i0": ints(0), "i1": ints(1), "width": ints(12),
         "most": ints(np.iinfo(np.int64).max)}, "first:12"),
    case("Expand-of-kv-heads", tokens("r = Reshape(a, kv) u = Unsqueeze(r, axis) e = Expand(u, wide) q = Reshape(e, heads) [g] g0 = MatMul(x, wg) "
         "g = Reshape(g0, heads) m = Mul(q, g) h = Reshape(m, flat)"), {"w1": (4, 8), "kv": ints(0, 0, 2, 4), "axis": ints(3),
         "wide": ints(1, 1, 2, 3, 4), "heads": ints(0, 0, 6, 4), "wg": (4, 24), "flat": ints(0, 0, -1), "w2": (24, 5)},
         "first:2 first:4 g:3"),
    case("Tile", between("t = Tile(a, times) [g] g = MatMul(x, wg) h = Mul(t, g)"), {"w1": (4, 8), "wg": (4, 24), "times": ints(1, 3), "w2": (24, 5)},
         "first:8 g:3"),
    case("Tile-once", between("h = Tile(a, times)"), {**W, "times": ints(1, 1)}, "first:12"),
    case("ConstantOfShape", tokens("s = Shape(x) n = Slice(s, i0, i2, i0) t = Concat<axis = 0>(n, width) c = ConstantOfShape<value = float[1] {2.0}>(t) "
         "h = Mul(a, c)"), {**W, "i0": ints(0), "i2": ints(2), "width": ints(12)}, "first:12"),
    case("ConstantOfShape-of-a-shape", tokens("s = Shape(a) c = ConstantOfShape<value = float[1] {2.0}>(s) h = Mul(a, c)"), W, "first:12"),
    case("size-in-a-computation", tokens("s = Shape(a) d = Gather(s, two) f = Cast<to = 1>(d) r = Sqrt(f) h = Div(a, r)"),
         {**W, "two": np.array(2)}, "first:12"),
    case("size-of-all-in-a-computation", tokens("s = Size(a) f = Cast<to = 1>(s) r = Sqrt(f) h = Div(a, r)"), W, "",
         frozen={"first:12": "size takes part in a computation"}),
    case("shape-in-a-computation", tokens("s = Shape(a) f = Cast<to = 1>(s) r = ReduceMax<keepdims = 0>(f) h = Div(a, r)"), W, "",
         frozen={"first:12": "size takes part in a computation"}),
]  # fmt: skip  # a table, a row a line


@all_of(CASES)
def test_case(case: Case) -> None:
    check(case)
