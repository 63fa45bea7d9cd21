"""Products: what is summed over is one axis, and silencing it there is removing it."""

from __future__ import annotations

import numpy as np

from tests.axes.cases import Case, Weights, all_of, between, case, check

W: Weights = {"w1": (4, 8), "w2": (6, 5)}
MS = {"com.microsoft": 1}

CASES = [
    case("MatMul", between("[c] h = MatMul(a, w)"), {**W, "w": (8, 6)}, "first:8 c:6"),
    case("weight-on-the-left", "(float[4, N] x) => (float[5, N] y) { [first] a = MatMul(w1, x) [last] y = MatMul(w2, a) }",
         {"w1": (8, 4), "w2": (5, 8)}, "first:8"),
    case("vector-on-the-right", "(float[N, 4] x) => (float[N] y) { [first] a = MatMul(x, w1) y = MatMul(a, v) }",
         {"w1": (4, 8), "v": (8,)}, "first:8"),
    case("vector-on-the-left", "(float[4] x) => (float[5] y) { [first] a = MatMul(x, w1) [last] y = MatMul(a, w2) }",
         {"w1": (4, 8), "w2": (8, 5)}, "first:8"),
    case("data-with-data", "(float[N, S, 4] x) => (float[N, S, S] y) { [first] a = MatMul(x, w1) [second] b = MatMul(x, v1) "
         "t = Transpose<perm = [0, 2, 1]>(b) y = MatMul(a, t) }", {"w1": (4, 8), "v1": (4, 8)}, "first:8"),
    case("batched-weights", "(float[N, 3, S, 4] x) => (float[N, 3, S, 5] y) { [first] a = MatMul(x, w1) [last] y = MatMul(a, w2) }",
         {"w1": (3, 4, 8), "w2": (1, 8, 5)}, "first:8"),
    case("batched-weights-per-head", "(float[N, S, 4] x) => (float[N, 1, S, 5] y) { u = Unsqueeze(x, one) "
         "[first] a = MatMul(u, w1) [second] b = MatMul(a, w2) y = ReduceSum(b, one) }",
         {"w1": (3, 4, 8), "w2": (3, 8, 5), "one": np.array([1])}, "first:8"),
    case("Gemm", between("[c] h = Gemm(a, w, b)"), {**W, "w": (8, 6), "b": (6,)}, "first:8 c:6"),
    case("Gemm-transB", between("[c] h = Gemm<transB = 1, alpha = 2.0, beta = 0.5>(a, w, b)"),
         {**W, "w": (6, 8), "b": (1, 6)}, "first:8 c:6"),
    case("Gemm-transA", "(float[4, N] x) => (float[N, 5] y) { [first] a = Gemm<transA = 1>(x, w1) [last] y = Gemm(a, w2) }",
         {"w1": (4, 8), "w2": (8, 5)}, "first:8"),
    case("Gemm-weight-first", "(float[N, 4] x) => (float[5, N] y) { [first] a = Gemm<transA = 1, transB = 1>(w1, x, b) "
         "[last] y = Gemm(w2, a) }", {"w1": (4, 8), "w2": (5, 8), "b": (8, 1)}, "first:8"),
    case("Gemm-scalar-bias", between("[c] h = Gemm(a, w, b)"), {**W, "w": (8, 6), "b": np.float32(3)}, "first:8 c:6"),
    case("Gemm-bias-from-a-layer", between("[bias] b = MatMul(x, v) [c] h = Gemm(a, w, b)"),
         {**W, "w": (8, 6), "v": (4, 6)}, "first:8 bias:6"),
    case("one-weight-both-ways", between("[c] b = MatMul(a, w) [d] h = Gemm<transB = 1>(b, w)"),
         {"w1": (4, 8), "w": (8, 6), "w2": (8, 5)}, "first:8 c:6 d:8"),
    case("one-weight-twice", between("[c] b = MatMul(a, w) [d] e = MatMul(b, w) h = Add(e, a)"),
         {"w1": (4, 8), "w": (8, 8), "w2": (8, 5)}, "first:8"),
    case("Einsum", between('[c] h = Einsum<equation = "ni,ij->nj">(a, w)'), {**W, "w": (8, 6)}, "first:8 c:6"),
    case("Einsum-implicit", between('[c] h = Einsum<equation = "ai, ij">(a, w)'), {**W, "w": (8, 6)}, "first:8 c:6"),
    case("Einsum-of-one", between('h = Einsum<equation = "nij->nj">(r)').replace("MatMul(x, w1)", "MatMul(x, w1) "
         "r = Reshape(a, three)"), {"w1": (4, 12), "w2": (6, 5), "three": np.array([0, 2, 6])}, "first:2 first:6"),
    case("Einsum-heads", "(float[N, S, 4] x) => (float[N, S, 5] y) { "
         '[q] q = Einsum<equation = "nsd,dhk->nhsk">(x, wq) [k] k = Einsum<equation = "nsd,dhk->nhsk">(x, wk) '
         'l = Einsum<equation = "nhsk,nhtk->nhst">(q, k) p = Softmax(l) [v] v = Einsum<equation = "nsd,dhk->nhsk">(x, wv) '
         'c = Einsum<equation = "nhst,nhtk->nshk">(p, v) [out] y = Einsum<equation = "nshk,hkd->nsd">(c, wo) }',
         {"wq": (4, 3, 6), "wk": (4, 3, 6), "wv": (4, 3, 5), "wo": (3, 5, 5)}, "q:3 q:6 v:5"),
    case("Einsum-three-operands", between('h = Einsum<equation = "ni,i,ij->nj">(a, s, w)'), {**W, "w": (8, 6), "s": (8,)},
         "first:8 Einsum_1:6"),
    case("Einsum-diagonal", between('r = Reshape(a, three) h = Einsum<equation = "nii->ni">(r)'),
         {"w1": (4, 36), "w2": (6, 5), "three": np.array([0, 6, 6])}, "", frozen={"first:6": "diagonal"}),
    case("Einsum-ellipsis", between('h = Einsum<equation = "...i,ij->...j">(a, w)'), {**W, "w": (8, 6)}, "",
         frozen={"first:8": "this use of Einsum"}, missing="Einsum"),
    case("FusedMatMul", between("[c] h = com.microsoft.FusedMatMul<alpha = 0.5>(a, w)"), {**W, "w": (8, 6)}, "first:8 c:6",
         domains=MS),
    case("FusedMatMul-transB", between("[c] h = com.microsoft.FusedMatMul<transB = 1>(a, w)"), {**W, "w": (6, 8)},
         "first:8 c:6", domains=MS),
    case("FusedMatMul-transA", "(float[N, S, 4] x) => (float[N, 8, 5] y) { [first] a = MatMul(x, w1) [second] b = MatMul(x, w2) "
         "y = com.microsoft.FusedMatMul<transA = 1>(a, b) }", {"w1": (4, 8), "w2": (4, 5)}, "", domains=MS,
         frozen={"first:8": "model output", "second:5": "model output"}),
    case("FusedMatMul-transBatch", "(float[N, S, 4] x) => (float[N, 8, 8] y) { [first] a = MatMul(x, w1) "
         "h = com.microsoft.FusedMatMul<transBatchA = 1>(a, w) [last] y = MatMul(h, w2) }", {"w1": (4, 8), "w": (8, 8), "w2": (8, 8)},
         "", domains=MS, frozen={"first:8": "this use of FusedMatMul"}, missing="FusedMatMul", sizes=()),
]  # fmt: skip  # a table, a row a line


@all_of(CASES)
def test_case(case: Case) -> None:
    check(case)
