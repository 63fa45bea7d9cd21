"""Bodies of If, Loop and Scan: what lies inside is found and cut as elsewhere, and so is what they read from outside;
what the node that holds them is given or gives stays.
"""

from __future__ import annotations

import numpy as np

from graphprune.axes.probe import probe
from graphprune.ir.loading import load
from tests.axes.cases import Case, Weights, all_of, case, check, parse

MLP: Weights = {"w1": (4, 8), "b1": (8,), "w2": (8, 4)}
IMAGE: Weights = {"a1": (6, 3, 3, 3), "a2": (5, 6, 3, 3), "b1": (7, 3, 3, 3), "b2": (5, 7, 3, 3)}
FORKED = """(float[N, 3, S, S] x, bool c) => (float[N, 5, S2, S3] y) {
    [choice] y = If(c) <
        then_branch = yes () => (float[N, 5, P, Q] t) { [one] h = Conv(x, a1) r = Relu(h) [two] t = Conv(r, a2) },
        else_branch = no () => (float[N, 5, P, Q] e) { [three] h = Conv(x, b1) r = Relu(h) [four] e = Conv(r, b2) }> }"""
SAME = "{ [left] h = MatMul(x, w1) r = Relu(h) [right] t = MatMul(r, w2) }"
THREE = np.array(3)

CASES = [
    case("two-branches", FORKED, IMAGE, "one:6 three:7", sizes=({"S": 7}, {"N": 3, "S": 9}),
         frozen={"two:5": "it crosses the border of a body of If", "four:5": "border"}),
    case("loop-with-a-state", "(float[N, 4] x) => (float[N, 4] y) { [steps] y = Loop(three, , x) <body = step (int64 i, bool go, float[N, 4] s) "
         "=> (bool on, float[N, 4] r) { on = Identity(go) [up] a = MatMul(s, w1) b = Add(a, b1) c = Relu(b) [down] d = MatMul(c, w2) r = Add(d, s) }> }",
         {**MLP, "three": THREE}, "up:8", frozen={"down:4": "it crosses the border of a body of Loop"}),
    case("loop-that-collects", "(float[N, 4] x) => (float[T, N, 4] y) { [steps] y = Loop(three, true) <body = step (int64 i, bool go) "
         "=> (bool on, float[N, 4] r) { on = Identity(go) [up] a = MatMul(x, w1) b = Add(a, b1) c = Relu(b) [down] r = MatMul(c, w2) }> }",
         {**MLP, "three": THREE, "true": np.array(True)}, "up:8", frozen={"down:4": "border"}),
    case("loop-whose-state-grows", "(float[N, 4] x) => (float[M, 4] y) { [steps] y = Loop(three, , x) <body = step (int64 i, bool go, float[A, 4] s) "
         "=> (bool on, float[B, 4] r) { on = Identity(go) [up] a = MatMul(s, w1) c = Relu(a) [down] d = MatMul(c, w2) r = Concat<axis = 0>(d, s) }> }",
         {**MLP, "three": THREE}, "", sizes=(), missing="steps Loop: the sizes of what it gives are not the same"),
    case("scan", "(float[S, N, 4] x, float[N, 4] z) => (float[S, N, 4] y, float[N, 4] last) { [steps] last, y = Scan<num_scan_inputs = 1, body = step (float[N, 4] s, float[N, 4] e) "
         "=> (float[N, 4] t, float[N, 4] o) { t = Add(s, e) [up] a = MatMul(t, w1) b = Add(a, b1) c = Relu(b) [down] o = MatMul(c, w2) }>(z, x) }",
         MLP, "up:8", frozen={"down:4": "it crosses the border of a body of Scan"}),
    case("scan-along-another-axis", "(float[N, S, 4] x, float[N, 4] z) => (float[N, 4, S] y, float[N, 4] last) { [steps] last, y = Scan<num_scan_inputs = 1, scan_input_axes = [1], "
         "scan_output_axes = [-1], body = step (float[N, 4] s, float[N, 4] e) => (float[N, 4] t, float[N, 4] o) "
         "{ t = Add(s, e) [up] a = MatMul(t, w1) c = Relu(a) [down] o = MatMul(c, w2) }>(z, x) }", MLP, "up:8"),
    case("bodies-in-bodies", f"(float[N, 4] x, bool c, bool d) => (float[N, 4] y) {{ y = If(c) <then_branch = yes () => (float[N, 4] u) "
         f"{{ u = If(d) <then_branch = deep () => (float[N, 4] t) {SAME}, else_branch = flat () => (float[N, 4] e) {{ e = Neg(x) }}> }}, "
         f"else_branch = no () => (float[N, 4] v) {{ v = Abs(x) }}> }}", MLP, "left:8"),
    case("a-weight-for-both-branches", "(float[N, 4] x, bool c) => (float[N, 4] y) { y = If(c) <"
         "then_branch = yes () => (float[N, 4] t) { [one] h = MatMul(x, w1) r = Relu(h) [two] t = MatMul(r, w2) }, "
         "else_branch = no () => (float[N, 4] e) { [three] h = MatMul(x, w1) r = Tanh(h) [four] e = MatMul(r, w2) }> }", MLP, "one:8"),
    case("a-weight-for-inside-and-outside", "(float[N, 4] x, bool c) => (float[N, 4] y) { [one] a = MatMul(x, w1) b = Relu(a) [two] z = MatMul(b, w2) f = If(c) <"
         "then_branch = yes () => (float[N, 4] t) { [three] h = MatMul(x, w1) r = Tanh(h) [four] t = MatMul(r, w2) }, "
         "else_branch = no () => (float[N, 4] e) { e = Neg(x) }> y = Add(z, f) }", MLP, "one:8"),
    case("a-reshape-inside", "(float[N, 4] x, bool c) => (float[N, 4] y) { y = If(c) <then_branch = yes () => (float[N, 4] t) { [up] h = MatMul(x, w1) "
         "q = Shape(h) n = Gather(q, first) m = Unsqueeze(n, zero) s = Concat<axis = 0>(m, four, two) g = Reshape(h, s) r = Relu(g) "
         "k = Concat<axis = 0>(m, eight) f = Reshape(r, k) [down] t = MatMul(f, w2) }, else_branch = no () => (float[N, 4] e) { e = Neg(x) }> }",
         {**MLP, "first": np.array(0), "zero": np.array([0]), "four": np.array([4]), "two": np.array([2]), "eight": np.array([8])}, "up:4 up:2"),
    case("what-others-inside-read", "(float[N, 4] x, bool c) => (float[N, 4] y) { [up] h = MatMul(x, w1) r = Relu(h) [down] z = MatMul(r, w2) f = If(c) <"
         "then_branch = yes () => (float[N, 4] t) { [inner] t = MatMul(r, w2) }, else_branch = no () => (float[N, 4] e) { e = Neg(x) }> y = Add(z, f) }",
         MLP, "up:8"),
    case("what-only-others-inside-read", "(float[N, 4] x, bool c) => (float[N, 4] y) { [up] h = MatMul(x, w1) b = Add(h, b1) y = If(c) <"
         "then_branch = yes () => (float[N, 4] t) { r = Relu(b) [one] t = MatMul(r, w2) }, "
         "else_branch = no () => (float[N, 4] e) { k = Tanh(b) [two] e = MatMul(k, w3) }> }", {**MLP, "w3": (8, 4)}, "up:8"),
    case("what-each-step-reads", "(float[N, 4] x) => (float[N, 4] y) { [up] h = MatMul(x, w1) [steps] y = Loop(three, , x) <body = step (int64 i, bool go, float[N, 4] s) "
         "=> (bool on, float[N, 4] r) { on = Identity(go) [again] a = MatMul(s, w3) c = Add(a, h) d = Relu(c) [down] e = MatMul(d, w2) r = Add(e, s) }> }",
         {**MLP, "three": THREE, "w3": (4, 8)}, "up:8"),
    case("what-bodies-in-bodies-read", "(float[N, 4] x, bool c, bool d) => (float[N, 4] y) { [up] h = MatMul(x, w1) y = If(c) <then_branch = yes () => (float[N, 4] u) "
         "{ u = If(d) <then_branch = deep () => (float[N, 4] t) { r = Relu(h) [one] t = MatMul(r, w2) }, else_branch = flat () => (float[N, 4] e) { e = Neg(x) }> }, "
         "else_branch = no () => (float[N, 4] v) { [two] v = MatMul(h, w3) }> }", {**MLP, "w3": (8, 4)}, "up:8"),
    case("what-a-body-hands-on", "(float[N, 4] x, bool c) => (float[N, 4] y) { [up] h = MatMul(x, w1) f = If(c) <"
         "then_branch = yes () => (float[N, 8] t) { t = Relu(h) }, else_branch = no () => (float[N, 8] e) { e = Neg(h) }> [down] y = MatMul(f, w2) }",
         MLP, "", frozen={"up:8": "it crosses the border of a body of If"}),
    case("what-a-loop-begins-with", "(float[N, 4] x) => (float[N, 4] y) { [up] h = MatMul(x, w1) [steps] f = Loop(three, , h) <body = step (int64 i, bool go, float[N, 8] s) "
         "=> (bool on, float[N, 8] r) { on = Identity(go) r = Tanh(s) }> [down] y = MatMul(f, w2) }",
         {**MLP, "three": THREE}, "", frozen={"up:8": "it crosses the border of a body of Loop"}),
]  # fmt: skip  # a table, a row a line


@all_of(CASES)
def test_case(case: Case) -> None:
    check(case)


def test_shapes_are_followed_into_bodies_and_out_of_them() -> None:
    """Free sizes are primes; the length of a Scan is that of what it takes apart."""
    one = next(one for one in CASES if one.name == "scan-along-another-axis")
    model = load(parse(one.text, one.weights, one.opset))
    found = probe(model).shapes
    batch, length, _ = found["x"]
    assert (found["e"], found["a"], found["y"]) == ((batch, 4), (batch, 8), (batch, 4, length))
