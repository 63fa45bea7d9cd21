"""Reductions and searches: a sum over an axis is a contraction, anything else needs the whole axis."""

from __future__ import annotations

import numpy as np

from tests.axes.cases import Case, Weights, all_of, between, case, check

W: Weights = {"w1": (4, 8), "w2": (8, 5)}
_KINDS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def tokens(body: str, out: str = "N, 1, 5") -> str:
    return f"(float[N, 6, 4] x) => (float[{out}] y) {{ [first] a0 = MatMul(x, w1) a = Sigmoid(a0) {body} }}"


def vector(body: str) -> str:
    return f"(float[N, 6, 4] x) => (float[N, 6, 8] y) {{ [first] a0 = MatMul(x, w1) a = Sigmoid(a0) {body} y = Mul(h, x8) }}"


CASES = [
    *(case(f"Reduce{kind}-of-tokens", tokens(f"h = Reduce{kind}<axes = [1]>(a) [last] y = MatMul(h, w2)"), W, "first:8", opset=12)
      for kind in _KINDS),
    *(case(f"Reduce{kind}-by-input", tokens(f"h = Reduce{kind}<keepdims = 0>(a, over) [last] y = MatMul(h, w2)", "N, 5"),
           {**W, "over": ints(-2)}, "first:8", opset=18) for kind in _KINDS),
    *(case(f"Reduce{kind}-of-channels", tokens(f"y = Reduce{kind}(a, over)", "N, 6, 1"), {**W, "over": ints(-1)}, "", opset=18,
           frozen={"first:8": f"Reduce{kind} runs over it"}) for kind in _KINDS if kind != "Sum"),
    case("ReduceSum-of-channels", tokens("y = ReduceSum(a, over)", "N, 6, 1"), {**W, "over": ints(-1)}, "first:8"),
    case("ReduceSum-of-channels-11", tokens("y = ReduceSum<axes = [2], keepdims = 0>(a)", "N, 6"), W, "first:8", opset=11),
    case("ReduceSum-of-two", tokens("y = ReduceSum<keepdims = 0>(a, over)", "N"), {**W, "over": ints(1, 2)}, "first:8"),
    case("ReduceSum-of-all", tokens("y = ReduceSum<keepdims = 0>(a)", "").replace("float[]", "float"), W, "first:8"),
    case("ReduceSum-of-nothing", tokens("h = ReduceSum<noop_with_empty_axes = 1>(a, over) [last] y = MatMul(h, w2)", "N, 6, 5"),
         {**W, "over": ints()}, "first:8"),
    case("ReduceMean-of-all", tokens("y = ReduceMean<keepdims = 0>(a)", "").replace("float[]", "float"), W, "",
         frozen={"first:8": "ReduceMean runs over it"}),
    case("ReduceSum-of-weights", between("s = ReduceSum(k, over) b = Mul(a, s) h = Add(b, z)", inputs="float[N, 4] x, float[8] z"),
         {**W, "k": (3, 8), "over": ints(0)}, "", frozen={"first:8": "model input"}),
    case("ReduceSum-of-a-head", "(float[N, S, 4] x) => (float[N, S, 5] y) { [first] a = MatMul(x, w1) r = Reshape(a, heads) "
         "h = ReduceSum<keepdims = 0>(r, over) [last] y = MatMul(h, w2) }", {"w1": (4, 24), "w2": (8, 5), "heads": ints(0, 0, 3, 8), "over": ints(2)},
         "first:3 first:8"),
    case("ArgMax", tokens("b = Transpose<perm = [0, 2, 1]>(a) i = ArgMax<axis = 2, keepdims = 0>(b) h = Cast<to = 1>(i) [last] y = MatMul(h, w2)", "N, 5"),
         W, "first:8"),
    case("ArgMin-of-channels", tokens("i = ArgMin<axis = -1>(a) y = Cast<to = 1>(i)", "N, 6, 1"), W, "", frozen={"first:8": "ArgMin runs over it"}),
    case("TopK", tokens("v, i = TopK<axis = 1>(a, two) j = Cast<to = 1>(i) s = Add(v, j) [last] y = MatMul(s, w2)", "N, 2, 5"),
         {**W, "two": ints(2)}, "first:8"),
    case("TopK-of-channels", tokens("v, i = TopK(a, eight) [last] y = MatMul(v, w2)", "N, 6, 5"), {**W, "eight": ints(8)}, "",
         frozen={"first:8": "TopK runs over it"}),
]  # fmt: skip  # a table, a row a line


@all_of(CASES)
def test_case(case: Case) -> None:
    check(case)
