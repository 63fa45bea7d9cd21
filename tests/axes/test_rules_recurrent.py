"""Recurrent layers: the features that go in may shrink, the hidden state may not."""

from __future__ import annotations

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
        "first:8",
        frozen={f"rnn:{rows}": f"hidden state of {op}"},
        sizes=() if layout else ({}, {"N": 3, "S": 5}),
    )


CASES = [recurrent(op, directions=directions) for op in _GATES for directions in (1, 2)]
CASES += [recurrent(op, layout=1) for op in _GATES]
CASES += [
    case("LSTM-with-states", "(float[S, N, 4] x, float[1, N, 6] h0, float[1, N, 6] c0) => (float[1, N, 5] y) { [first] a = MatMul(x, w1) "
         "[rnn] , hn, cn = LSTM<hidden_size = 6>(a, w, r, b, , h0, c0) s = Add(hn, cn) [last] y = MatMul(s, w2) }",
         {"w1": (4, 8), "w2": (6, 5), "w": (1, 24, 8), "r": (1, 24, 6), "b": (1, 48)}, "first:8", frozen={"rnn:24": "hidden state of LSTM"}),
    case("GRU-of-an-embedding", "(int64[S, N] x) => (float[1, N, 5] y) { [table] a = Gather(t, x) [rnn] , h = GRU<hidden_size = 6, linear_before_reset = 1>(a, w, r) "
         "[up] u = MatMul(h, w1) q = Relu(u) [last] y = MatMul(q, w2) }", {"t": (11, 8), "w1": (6, 7), "w2": (7, 5), "w": (1, 18, 8), "r": (1, 18, 6)},
         "table:8 up:7", frozen={"rnn:18": "hidden state of GRU"}),
]  # fmt: skip  # a table, a row a line


@all_of(CASES)
def test_case(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("op", list(_GATES))
def test_every_recurrent_operator_is_there(op: str) -> None:
    assert sum(one.name.startswith(op) for one in CASES) >= 3
