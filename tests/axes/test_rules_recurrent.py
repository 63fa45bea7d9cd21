"""Recurrent layers: features that go in and hidden units may shrink; states from or for the outside may not."""

from __future__ import annotations

import numpy as np
import pytest

from tests.axes.cases import Case, all_of, case, check

_GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}


def recurrent(op: str, *, directions: int = 1, layout: int = 0) -> Case:
    rows = _GATES[op] * 6
    weights = {
        "w1": (4, 8),
        "w2": (6, 5),
        "w": (directions, rows, 8),
        "r": (directions, rows, 6),
        "b": (directions, 2 * rows),
    }
    direction = ', direction = "bidirectional"' if directions == 2 else ""
    time_first = "t = Transpose<perm = [0, 1, 2]>(a)"
    body = f"[rnn] o, last_state = {op}<hidden_size = 6, layout = {layout}{direction}>(a, w, r, b)"
    summed = (
        "z = ReduceMax<axes = [1], keepdims = 0>(o)" if not layout else "z = ReduceMax<axes = [2], keepdims = 0>(o)"
    )
    text = (
        f"(float[S, N, 4] x) => (float[S, N, 5] y) {{ [first] a = MatMul(x, w1) {time_first if layout else ''} {body} {summed} "
        f"[last] y = MatMul(z, w2) }}"
    )
    sides = ("", "-both-ways")[directions - 1] + ("", "-batch-first")[layout]
    return case(
        f"{op}{sides}",
        text,
        weights,
        "first:8 rnn:6",
        sizes=() if layout else ({}, {"N": 3, "S": 5}),
    )


CASES = [recurrent(op, directions=directions) for op in _GATES for directions in (1, 2)]
CASES += [recurrent(op, layout=1) for op in _GATES]
CASES += [
    case("LSTM-with-states", "(float[S, N, 4] x, float[1, N, 6] h0, float[1, N, 6] c0) => (float[1, N, 5] y) { [first] a = MatMul(x, w1) "
         "[rnn] , hn, cn = LSTM<hidden_size = 6>(a, w, r, b, , h0, c0) s = Add(hn, cn) [last] y = MatMul(s, w2) }",
         {"w1": (4, 8), "w2": (6, 5), "w": (1, 24, 8), "r": (1, 24, 6), "b": (1, 48)}, "first:8", frozen={"rnn:6": "model input"}),
    case("GRU-whose-state-is-an-output", "(float[S, N, 4] x) => (float[S, N, 5] y, float[1, N, 6] hn) { [first] a = MatMul(x, w1) "
         "[rnn] o, hn = GRU<hidden_size = 6>(a, w, r) z = ReduceMax<axes = [1], keepdims = 0>(o) [last] y = MatMul(z, w2) }",
         {"w1": (4, 8), "w2": (6, 5), "w": (1, 18, 8), "r": (1, 18, 6)}, "first:8", frozen={"rnn:6": "model output"}),
    case("GRU-of-an-embedding", "(int64[S, N] x) => (float[1, N, 5] y) { [table] a = Gather(t, x) [rnn] , h = GRU<hidden_size = 6, linear_before_reset = 1>(a, w, r) "
         "[up] u = MatMul(h, w1) q = Relu(u) [last] y = MatMul(q, w2) }", {"t": (11, 8), "w1": (6, 7), "w2": (7, 5), "w": (1, 18, 8), "r": (1, 18, 6)},
         "table:8 rnn:6 up:7"),
    case("LSTM-with-peepholes-and-states-of-its-own", "(float[S, 3, 4] x) => (float[S, 3, 5] y) { [rnn] o = LSTM<hidden_size = 6>(x, w, r, b, , h0, c0, p) "
         "z = ReduceMax<axes = [1], keepdims = 0>(o) [last] y = MatMul(z, w2) }",
         {"w2": (6, 5), "w": (1, 24, 4), "r": (1, 24, 6), "b": (1, 48), "h0": (1, 3, 6), "c0": (1, 3, 6), "p": (1, 18)}, "rnn:6", sizes=({"S": 4},)),
    case("GRU-of-sequences-of-different-lengths", "(float[5, N, 4] x, int32[N] n) => (float[1, N, 5] y) { [rnn] o, h = GRU<hidden_size = 6>(x, w, r, , n) "
         "[last] y = MatMul(h, w2) }", {"w2": (6, 5), "w": (1, 18, 4), "r": (1, 18, 6)}, "rnn:6"),
    case("stacked-both-ways", "(float[S, N, 4] x) => (float[S, N, 5] y) { [rnn] o = LSTM<hidden_size = 6, direction = \"bidirectional\">(x, w, r) "
         "t = Transpose<perm = [0, 2, 1, 3]>(o) q = Reshape(t, flat) [second] p = LSTM<hidden_size = 3, direction = \"reverse\">(q, w1, r1) "
         "z = Squeeze(p, one) [last] y = MatMul(z, w2) }", {"w": (2, 24, 4), "r": (2, 24, 6), "w1": (1, 12, 12), "r1": (1, 12, 3), "w2": (3, 5),
         "flat": np.array([0, 0, -1]), "one": np.array([1])}, "rnn:6 second:3"),
    case("RNN-begun-by-a-layer", "(float[S, N, 4] x, float[1, N, 3] z) => (float[1, N, 5] y) { [maker] m = MatMul(z, w1) h0 = Tanh(m) "
         "[rnn] , h = RNN<hidden_size = 6>(x, w, r, , , h0) [last] y = MatMul(h, w2) }", {"w1": (3, 6), "w2": (6, 5), "w": (1, 6, 4), "r": (1, 6, 6)}, "maker:6"),
    case("two-layers-begun-by-the-same-zeros", "(float[S, N, 4] x) => (float[1, N, 5] y) { s = Shape<start = 1, end = 2>(x) q = Concat<axis = 0>(one, s, six) "
         "o = ConstantOfShape(q) [rnn] a, last_state = GRU<hidden_size = 6>(x, w, r, , , o) b = Squeeze(a, one) "
         "[second] , h = GRU<hidden_size = 6>(b, w1, r1, , , o) [last] y = MatMul(h, w2) }",
         {"one": np.array([1]), "six": np.array([6]), "w": (1, 18, 4), "r": (1, 18, 6), "w1": (1, 18, 6), "r1": (1, 18, 6), "w2": (6, 5)},
         "rnn:6 second:6"),
]  # fmt: skip  # a table, a row a line


@all_of(CASES)
def test_case(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("op", list(_GATES))
def test_every_recurrent_operator_is_there(op: str) -> None:
    assert sum(one.name.startswith(op) for one in CASES) >= 3
