"""Weights that several layers read: cut together where they are used in the same way, each use on its own otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from graphprune.rewrite import remove_units
from tests.axes.cases import Case, all_of, case, check, typed
from tests.axes.oracles import keep_share

_LEVELS = """(float[N, 3, 8, 8] x) => (float[N, 2, a, b] y, float[N, 2, c, d] z) { [down] u = Conv<strides = [2, 2]>(x, w1)
[further] v = Conv<strides = [2, 2]>(u, w2) [h0] a0 = Conv(u, k0, b0) p0 = Relu(a0) [o0] y = Conv(p0, k1, b1)
[h1] a1 = Conv(v, k0, b0) p1 = Relu(a1) [o1] z = Conv(p1, k1, b1) }"""
_SIZES = {"w1": (6, 3, 2, 2), "w2": (6, 6, 2, 2), "k0": (5, 6, 1, 1), "b0": (5,), "k1": (2, 5, 1, 1), "b1": (2,)}
_TOWERS = """(float[N, 4] x, float[N, 4] z) => (float[N, 3] y) { [first] a = MatMul(x, w1) b = Add(a, b1) c = Relu(b)
[second] d = MatMul(c, w2) [again] e = MatMul(z, w1) f = Add(e, b1) g = Relu(f) [once] h = MatMul(g, w2)
i = Mul(d, h) [last] y = MatMul(i, w3) }"""
_ZEROS = np.zeros(7, np.float32)

CASES = [
    case("head-of-two-levels", _LEVELS, _SIZES, "down:6 h0:5"),
    case("siamese-towers", _TOWERS, {"w1": (4, 7), "b1": (7,), "w2": (7, 5), "w3": (5, 3)}, "first:7 second:5"),
    # the biases are merely equal
    case("zeros", "(float[N, 4] x) => (float[N, 3] y) { [a] a = MatMul(x, w1) b = Add(a, o) c = Relu(b) [d] d = MatMul(c, w2) "
         "e = Add(d, o) f = Relu(e) [last] y = MatMul(f, w3) }", {"w1": (4, 7), "o": _ZEROS, "w2": (7, 7), "w3": (7, 3)}, "a:7 d:7"),
    # what one layer writes the other reads
    case("turned", "(float[N, 4] x) => (float[N, 4] y) { [a] a = MatMul(x, w1) b = Relu(a) [c] c = MatMul(b, w2) d = Relu(c) "
         "[e] e = Gemm<transB = 1>(d, w2) f = Relu(e) [last] y = Gemm<transB = 1>(f, w1) }", {"w1": (4, 6), "w2": (6, 5)},
         "a:6 c:5 e:6"),
    # one of the uses writes an output: that axis stays apart, and the other is cut in a copy
    case("one-use-frozen", "(float[N, 4] x) => (float[N, 6] y, float[N, 3] z) { [a] y = MatMul(x, w1) [b] b = MatMul(x, w1) "
         "c = Relu(b) [d] d = MatMul(x, w1) e = Relu(d) f = Mul(c, e) [last] z = MatMul(f, w2) }", {"w1": (4, 6), "w2": (6, 3)}, "b:6"),
]  # fmt: skip  # a table, a row a line


@all_of(CASES)
def test_case(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("one", CASES[:2], ids=lambda one: str(one.name))
def test_what_is_cut_together_needs_no_copy(one: Case) -> None:
    model, typing, groups = typed(one)
    small = remove_units(model, typing, keep_share([group for group in groups if group.is_prunable], 0.4))
    assert {tensor for tensor in small.graph.tensors() if "cut" in tensor} == set()
