"""What is picked or written by index keeps its extent; the axes beside it pass through."""

from __future__ import annotations

import numpy as np

from tests.axes.cases import Case, Weights, all_of, between, case, check

W: Weights = {"w1": (4, 8), "w2": (8, 5)}


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def tokens(body: str, out: str = "N, T, 5") -> str:
    return f"(float[N, 6, 4] x) => (float[{out}] y) {{ [first] a = MatMul(x, w1) {body} [last] y = MatMul(h, w2) }}"


CASES = [
    case("Gather-an-embedding", "(int64[N, S] x) => (float[N, S, 5] y) { [table] a = Gather(t, x) h = Relu(a) [last] y = MatMul(h, w2) }",
         {"t": (11, 8), "w2": (8, 5)}, "table:8"),
    case("Gather-two-embeddings", "(int64[N, S] x) => (float[N, S, 5] y) { [table] a = Gather(t, x) [places] p = Gather(u, x) h = Add(a, p) "
         "[last] y = MatMul(h, w2) }", {"t": (11, 8), "u": (2, 8), "w2": (8, 5)}, "table:8"),
    case("Gather-a-token", tokens("h = Gather<axis = 1>(a, i)", "N, 5"), {**W, "i": np.array(0)}, "first:8"),
    case("Gather-a-channel", between("g = Gather<axis = -1>(a, i) h = Mul(x8, g)", inputs="float[N, 4] x, float[N, 8] x8"),
         {**W, "i": ints(3)}, "first:3 first:4"),
    case("Gather-a-channel-from-the-end", between("g = Gather<axis = -1>(a, i) h = Mul(x8, g)", inputs="float[N, 4] x, float[N, 8] x8"),
         {**W, "i": ints(-3)}, "first:5 first:2"),
    case("Gather-channels", between("g = Gather<axis = -1>(a, i) h = Concat<axis = -1>(g, x6)", inputs="float[N, 4] x, float[N, 6] x6"),
         {**W, "i": ints(3, 4)}, "", frozen={"first:8": "Gather picks from it"}),
    case("Gather-through-a-head", between("r = Reshape(a, heads) f = Reshape(r, flat) g = Gather<axis = -1>(f, i) h = Mul(x8, g)",
         inputs="float[N, 4] x, float[N, 8] x8"), {**W, "i": ints(3), "heads": ints(-1, 2, 4), "flat": ints(-1, 8)}, "first:3"),
    case("Gather-from-a-stack", "(float[N, S, 4] x) => (float[N, S, 5] y) { [qkv] a = MatMul(x, w1) r = Reshape(a, stack) "
         "t = Transpose<perm = [2, 0, 3, 1, 4]>(r) q = Gather(t, i0) k = Gather(t, i1) v = Gather(t, i2) "
         "k2 = Transpose<perm = [0, 1, 3, 2]>(k) l = MatMul(q, k2) p = Softmax<axis = -1>(l) o = MatMul(p, v) "
         "u = Transpose<perm = [0, 2, 1, 3]>(o) z = Reshape(u, merged) [last] y = MatMul(z, w2) }",
         {"w1": (4, 36), "w2": (12, 5), "stack": ints(0, 0, 3, 4, 3), "merged": ints(0, 0, 12), "i0": np.array(0),
          "i1": np.array(1), "i2": np.array(-1)}, "qkv:4 qkv:3"),
    case("slice-assignment", "(float[N, 4] x) => (float[N, 5] y) { [first] a = MatMul(x, w1) [second] b = MatMul(x, v) "
         "t = Transpose(a) u = Transpose(b) s = ScatterND(t, i, u) h = Transpose(s) [last] y = MatMul(h, w2) }",
         {**W, "v": (4, 3), "i": ints(2, 3, 4).reshape(3, 1)}, "first:2 first:3 first:3 second:3"),
    case("tied-embedding", "(int64[N, S] x) => (float[N, S, 11] y) { [table] a = Gather(t, x) h = Relu(a) k = Transpose(t) [last] y = MatMul(h, k) }",
         {"t": (11, 8)}, "table:8"),
    case("tied-embedding-read-in-two-ways", "(int64[N, S] x) => (float[N, S, 11] y) { [table] a = Gather(t, x) h = Relu(a) [up] u = MatMul(h, w1) q = Relu(u) "
         '[last] y = Einsum<equation = "nsd,vd->nsv">(q, t) }', {"t": (11, 8), "w1": (8, 8)}, "table:8 up:8"),
    case("GatherElements", tokens("e = Expand(i, t) h = GatherElements<axis = 1>(a, e)").replace("N, 6, 4", "2, 6, 4"),
         {**W, "i": ints(3, 1).reshape(1, 2, 1), "t": ints(2, 2, 8)}, "first:8", sizes=({},)),
    case("GatherElements-of-channels", tokens("h = GatherElements<axis = 2>(a, e)").replace("N, 6, 4", "2, 6, 4"),
         {**W, "e": np.zeros((2, 6, 8), np.int64)}, "", frozen={"first:8": "GatherElements picks"}, sizes=({},)),
    case("GatherElements-of-some", tokens("h = GatherElements<axis = 1>(a, e)").replace("N, 6, 4", "2, 6, 4"),
         {"w1": (4, 8), "w2": (3, 5), "e": np.zeros((2, 2, 3), np.int64)}, "", frozen={"first:8": "GatherElements picks"}, sizes=({},)),
    case("GatherND", "(float[3, 6, 4] x) => (float[T, 5] y) { [first] a = MatMul(x, w1) h = GatherND(a, i) [last] y = MatMul(h, w2) }",
         {**W, "i": np.array([[0, 1], [2, 3]])}, "first:8", sizes=({},)),
    case("GatherND-of-batches", "(float[3, 6, 4] x) => (float[3, 5] y) { [first] a = MatMul(x, w1) h = GatherND<batch_dims = 1>(a, i) [last] y = MatMul(h, w2) }",
         {**W, "i": np.array([[0], [2], [5]])}, "first:8", sizes=({},)),
    case("ScatterND", "(float[3, 6, 4] x) => (float[3, 6, 5] y) { [first] a = MatMul(x, w1) [second] b = MatMul(z, w3) h = ScatterND(a, i, b) [last] y = MatMul(h, w2) }",
         {**W, "z": (2, 6, 4), "w3": (4, 8), "i": np.array([[0], [2]])}, "first:8", sizes=({},)),
    case("ScatterElements", tokens("e = Expand(i, t) b = MatMul(z, w1) h = ScatterElements<axis = 1>(a, e, b)").replace("N, 6, 4", "2, 6, 4"),
         {**W, "i": ints(3, 1).reshape(1, 2, 1), "t": ints(2, 2, 8), "z": (2, 2, 4)}, "first:8", sizes=({},)),
    case("ScatterElements-that-add", tokens("h = ScatterElements<axis = 1, reduction = \"add\">(a, i, u)").replace("N, 6, 4", "2, 6, 4"),
         {**W, "i": np.arange(32).reshape(2, 2, 8) % 6, "u": (2, 2, 8)}, "first:8", opset=18, sizes=({},)),
    case("ScatterElements-of-some", tokens("h = ScatterElements<axis = 1>(a, i, u)"), {**W, "i": np.zeros((1, 1, 1), np.int64), "u": (1, 1, 1)}, "",
         frozen={"first:8": "ScatterElements writes into it"}, sizes=()),
    case("ScatterElements-of-channels", tokens("h = ScatterElements<axis = 2>(a, i, u)").replace("N, 6, 4", "2, 6, 4"),
         {**W, "i": np.array([3, 1]) + np.zeros((2, 6, 2), np.int64), "u": (2, 6, 2)}, "", frozen={"first:8": "ScatterElements writes into it"}, sizes=({},)),
    case("assignment-to-a-token", tokens("[second] b = MatMul(c, w1) s = Shape(b) i = Expand(zero, s) h = ScatterElements<axis = 1>(a, i, b)", "N, 6, 5").replace(
         "float[N, 6, 4] x", "float[N, 6, 4] x, float[N, 1, 4] c"), {**W, "zero": np.array(0)}, "first:8"),
    case("assignment-to-a-channel", tokens("[second] b = MatMul(x, v) s = Shape(b) i = Expand(last_one, s) h = ScatterElements<axis = 2>(a, i, b)", "N, 6, 5"),
         {**W, "v": (4, 1), "last_one": np.array(-1)}, "first:7"),
    case("assignment-to-rows-of-an-image", "(float[N, 3, 6, 5] x, float[N, 3, 2, 5] z) => (float[N, 4, 6, 5] y) { [first] a = Conv(x, k1) [second] b = Conv(z, k2) "
         "s = Shape(a) n = Gather(s, zero) r = Range(zero, n, one) r4 = Reshape(r, column) rc = Add(r4, places) grid = Add(rc, rows) g = Shape(grid) "
         "e0 = Expand(r4, g) e1 = Expand(places, g) e2 = Expand(rows, g) i0 = Unsqueeze(e0, minus) i1 = Unsqueeze(e1, minus) i2 = Unsqueeze(e2, minus) "
         "i = Concat<axis = -1>(i0, i1, i2) t = Concat<axis = 0>(g, five) u = Reshape(b, t) h = ScatterND(a, i, u) [last] y = Conv(h, k3) }",
         {"k1": (8, 3, 1, 1), "k2": (8, 3, 1, 1), "k3": (4, 8, 1, 1), "zero": np.array(0), "one": np.array(1), "column": ints(-1, 1, 1), "minus": ints(-1),
          "places": np.arange(8).reshape(8, 1), "rows": ints(2, 3), "five": ints(5)}, "first:8"),
    case("OneHot", "(int64[N] x) => (float[N, 5] y) { o = OneHot(x, depth, values) [first] a = MatMul(o, w1) h = Relu(a) [last] y = MatMul(h, w2) }",
         {**W, "depth": np.array(4), "values": np.array([0, 1], np.float32)}, "first:8"),
    case("OneHot-in-front", "(int64[N, S] x) => (float[N, S, 5] y) { o = OneHot<axis = 0>(x, depth, values) r = ReduceSum(o, zero) t = Unsqueeze(r, three) "
         "s = Squeeze(t, zero) [first] a = MatMul(s, w1) h = Relu(a) [last] y = MatMul(h, w2) }",
         {"w1": (1, 8), "w2": (8, 5), "depth": np.array(4), "values": np.array([0, 1], np.float32), "zero": ints(0), "three": ints(3)}, "first:8"),
    case("Range", tokens("r = Range(zero, eight, one) c = Cast<to = 1>(r) h = Add(a, c)", "N, 6, 5"),
         {**W, "zero": np.array(0), "eight": np.array(8), "one": np.array(1)}, "first:8"),
    case("Range-of-a-size", tokens("s = Shape(x) n = Gather(s, zero) r = Range(zero, n, one) c = Cast<to = 1>(r) u = Unsqueeze(c, places) h = Add(a, u)", "N, 6, 5"),
         {**W, "zero": np.array(0), "one": np.array(1), "places": ints(1, 2)}, "first:8"),
    case("Range-of-data", "(float[N, 4] x, int64 n) => (float[N, T] y) { [first] a = MatMul(x, w1) h = Relu(a) [last] b = MatMul(h, w2) r = Range(zero, n, one) "
         "c = Cast<to = 1>(r) s = ReduceMax<keepdims = 0>(b) y = Mul(c, s) }", {**W, "zero": np.array(0), "one": np.array(1)}, "first:8",
         frozen={"last:5": "ReduceMax runs over it"}, sizes=(), missing="Range"),
    case("NonZero", "(float[N, 4] x) => (float[N, 5] y, int64[2, M] i) { [first] a = MatMul(x, w1) i = NonZero(a) [last] y = MatMul(a, w2) }", W, "",
         frozen={"first:8": "NonZero counts through it"}),
    case("EyeLike-of-data", "(float[8, 4] x) => (float[8, 5] y) { [first] a = MatMul(x, w1) e = EyeLike(a) h = Add(a, e) [last] y = MatMul(h, w2) }", W, "",
         frozen={"first:8": "EyeLike makes it"}),
    case("Compress", tokens("h = Compress<axis = 1>(a, which)"), {**W, "which": np.array([True, False, True, True, False, True])}, "",
         frozen={"first:8": "Compress counts through it"}),
    case("Unique", "(float[N, 4] x) => (float[N, 5] y, float[M] u) { [first] a = MatMul(x, w1) u = Unique(a) [last] y = MatMul(a, w2) }", W, "",
         frozen={"first:8": "Unique counts through it"}),
    case("Multinomial", "(float[N, 4] x) => (float[N, 5] y) { [first] a = MatMul(x, w1) i = Multinomial<sample_size = 8>(a) f = Cast<to = 1>(i) h = Mul(f, zero) "
         "[last] y = MatMul(h, w2) }", {**W, "zero": np.float32(0)}, "", frozen={"first:8": "Multinomial counts through it"}),
    case("RandomNormal", "(float[N, 4] x) => (float[N, 5] y) { [first] a = MatMul(x, w1) r = RandomNormal<shape = [8]>() q = RandomUniform<shape = [8]>() "
         "z = Add(r, q) h = Add(a, z) [last] y = MatMul(h, w2) }", W, "", frozen={"first:8": "Random.* makes it"}),
    case("RandomNormalLike", "(float[N, 4] x) => (float[N, 5] y) { [first] a = MatMul(x, w1) r = RandomNormalLike(a) q = RandomUniformLike(a) "
         "z = Add(r, q) h = Add(a, z) [last] y = MatMul(h, w2) }", W, "", frozen={"first:8": "Random.* makes it"}),
    case("Shape-of-data-as-output", "(float[N, 4] x) => (float[N, 5] y, int64[2] s) { [first] a = MatMul(x, w1) h = Relu(a) s = Shape(h) [last] y = MatMul(h, w2) }",
         W, "", frozen={"first:8": "size takes part"}),
    case("Size-of-data-as-output", "(float[N, 4] x) => (float[N, 5] y, int64 s) { [first] a = MatMul(x, w1) h = Relu(a) s = Size(h) [last] y = MatMul(h, w2) }",
         W, "", frozen={"first:8": "size takes part"}),
]  # fmt: skip  # a table, a row a line


@all_of(CASES)
def test_case(case: Case) -> None:
    check(case)
