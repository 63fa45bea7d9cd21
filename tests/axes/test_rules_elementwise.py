"""Element by element: an axis passes through, and every operand of its size is the same axis."""

from __future__ import annotations

import numpy as np

from graphprune.axes.rules import elementwise
from tests.axes.cases import Case, Weights, all_of, between, case, check

W: Weights = {"w1": (4, 8), "w2": (8, 5)}
TWO: Weights = {**W, "v1": (4, 8)}
SECOND = "[second] b = MatMul(x, v1)"
_POSITIVE = "p = Abs(a)"

_UNARY = [
    "Abs",
    "Acos",
    "Acosh",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "Ceil",
    "Celu",
    "Cos",
    "Cosh",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "Log",
    "Mish",
    "Neg",
    "Reciprocal",
    "Relu",
    "Round",
    "Selu",
    "Shrink",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
]
_UNIT = ("Acos", "Asin", "Atanh", "Acosh", "Log", "Sqrt", "Reciprocal")
"""Functions that want their argument between zero and one, or above; 1 / (2 + |a|) lies there, and so does 2 + |a|."""
_BINARY = ("Add", "Div", "Max", "Mean", "Min", "Mul", "Sub", "Sum", "PRelu", "Pow")
_COMPARE = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
_LOGIC = ("And", "Or", "Xor")
_BITS = ("BitwiseAnd", "BitwiseOr", "BitwiseXor")
_NEW = {"Gelu": 20, "Swish": 24}


def _unary(op: str) -> Case:
    """Arguments are brought into the domain of the function."""
    body = f"h = {op}(a)"
    if op in _UNIT:
        body = f"p = Abs(a) q = Add(p, two) r = Reciprocal(q) h = {op}({'q' if op == 'Acosh' else 'r'})"
    return case(op, between(body), {**W, "two": np.array(2, np.float32)}, "first:8", opset=_NEW.get(op, 18))


def _binary(op: str) -> Case:
    power = f"{SECOND} p = Abs(a) c = Sigmoid(b) h = Pow(p, c)"
    body = power if op == "Pow" else f"{SECOND} h = {op}(a, b)"
    return case(op, between(body), TWO, "first:8")


def _logic(op: str) -> Case:
    body = f"{SECOND} l = Greater(a, b) m = Less(b, zero) n = {op}(l, m) h = Cast<to = 1>(n)"
    return case(op, between(body), {**TWO, "zero": np.zeros(8, np.float32)}, "first:8")


def _bits(op: str) -> Case:
    body = f"{SECOND} c = Cast<to = 6>(a) d = Cast<to = 6>(b) e = {op}(c, d) h = Cast<to = 1>(e)"
    return case(op, between(body), TWO, "first:8", opset=18)


def _compare(op: str) -> Case:
    return case(op, between(f"{SECOND} c = {op}(a, b) h = Cast<to = 1>(c)"), TWO, "first:8")


ONE_BY_ONE = [
    *map(_unary, [*_UNARY, *_NEW]),
    *map(_binary, _BINARY),
    *map(_compare, _COMPARE),
    *map(_logic, _LOGIC),
    *map(_bits, _BITS),
]

CASES = [
    *ONE_BY_ONE,
    case("Not", between("l = Greater(a, zero) m = Not(l) h = Cast<to = 1>(m)"), {**W, "zero": (1,)}, "first:8"),
    case("BitwiseNot", between("c = Cast<to = 6>(a) d = BitwiseNot(c) h = Cast<to = 1>(d)"), W, "first:8", opset=18),
    case("BitShift", between('p = Abs(a) c = Cast<to = 12>(p) d = BitShift<direction = "LEFT">(c, by) '
         "h = Cast<to = 1>(d)"), {**W, "by": np.arange(8, dtype=np.uint32)}, "first:8"),
    case("Mod", between("h = Mod<fmod = 1>(a, by)"), {**W, "by": (8,)}, "first:8"),
    case("IsNaN", between("l = IsNaN(a) m = IsInf(a) n = Or(l, m) h = Where(n, zero, a)"),
         {**W, "zero": np.zeros(1, np.float32)}, "first:8"),
    case("Where", between(f"{SECOND} l = Greater(a, b) h = Where(l, a, c)"), {**TWO, "c": (8,)}, "first:8"),
    case("Identity", "(float[N, 4] x) => (float[N, 5] y, float[N, 8] z) { [first] a = MatMul(x, w1) z = Identity(a) "
         "[last] y = MatMul(a, w2) }", W, "", frozen={"first:8": "model output"}),
    case("clip-11", between("h = Clip(a, low, high)"), {**W, "low": np.float32(-1), "high": np.float32(1)}, "first:8",
         opset=11),
    case("clip-without-low", between("h = Clip(a, , high)"), {**W, "high": np.float32(1)}, "first:8"),
    case("Max-of-three", between(f"{SECOND} c = Max(a, b, bias) h = Sum(c, a, b)"), {**TWO, "bias": (8,)}, "first:8"),
    case("bias-goes-with-its-axis", between("b = Add(a, bias) h = Relu(b)"), {**W, "bias": (8,)}, "first:8"),
    case("bias-of-more-axes", between("b = Add(a, bias) h = Mul(b, scale)"),
         {**W, "bias": (1, 8), "scale": np.float32(2)}, "first:8"),
    case("broadcast-to-more-axes", "(float[N, S, 4] x) => (float[N, S, 5] y) { [first] a = MatMul(x, w1) m = "
         "ReduceMean<axes = [1]>(a) b = Sub(a, m) [last] y = MatMul(b, w2) }", W, "first:8"),
    case("one-against-many", between("s = ReduceMax<axes = [-1]>(x) h = Mul(a, s)"), W, "first:8"),
    case("slope-per-channel", "(float[N, 3, 6, 6] x) => (float[N, 4, 6, 6] y) { [first] a = Conv(x, w1) "
         "h = PRelu(a, slope) [last] y = Conv(h, w2) }", {"w1": (8, 3, 1, 1), "w2": (4, 8, 1, 1), "slope": (8, 1, 1)},
         "first:8"),
    case("CastLike", between("c = CastLike(a, like) h = Cast<to = 1>(c)"), {**W, "like": np.zeros(8, np.float64)},
         "first:8"),
    case("dropout-with-a-mask", between("h, m = Dropout(a) n = Cast<to = 1>(m) z = ReduceMax(n)",
         after="", out="float[N, 5]"), W, "first:8"),
    case("dropout-in-training", between("d = Dropout(a, ratio, on) h = Relu(d)"),
         {**W, "ratio": np.float32(0.5), "on": np.array(True)}, "", frozen={"first:8": "this use of Dropout"}, missing="Dropout"),
    case("Bernoulli", between("p = Sigmoid(a) h = Bernoulli(p)"), W, "", frozen={"first:8": "Bernoulli counts through it"}),
    case("Trilu", "(float[N, 6, 4] x) => (float[N, 3, 6, 5] y) { [first] a = MatMul(x, w1) r = Reshape(a, four) "
         "t = Transpose<perm = [0, 2, 1, 3]>(r) m = MatMul(t, k) c = Trilu(m) [last] y = MatMul(c, w2) }",
         {"w1": (4, 6), "four": np.array([0, 6, 3, 2]), "k": (2, 6), "w2": (6, 5)}, "first:2",
         frozen={"first:3": "model output", "last:5": "model output"}),
]  # fmt: skip  # a table, a row a line

_OVER = {"CumSum": ", last", "LpNormalization": "", "Hardmax": "", "Softmax": "", "LogSoftmax": ""}
CASES += [
    case(f"{op}-last", between(f"h = {op}(a{more})"), {**W, "last": np.array(-1)}, "",
         frozen={"first:8": f"{op} runs over it"}) for op, more in _OVER.items()
]  # fmt: skip  # a table, a row a line
_TOKENS = "(float[N, 6, 4] x) => (float[N, 6, 5] y) {{ [first] a = MatMul(x, w1) {} [last] y = MatMul(h, w2) }}"
CASES += [
    case(f"{op}-other-axis", _TOKENS.format(f"h = {op}{'' if more else '<axis = 1>'}(a{more})"),
         {**W, "last": np.array(1)}, "first:8") for op, more in _OVER.items()
]  # fmt: skip  # a table, a row a line
CASES += [
    case("softmax-11-flattens", _TOKENS.format("h = Softmax<axis = 1>(a)"), W, "", opset=11,
         frozen={"first:8": "Softmax runs over it"}),
    case("softmax-11-last", _TOKENS.format("t = Transpose<perm = [0, 2, 1]>(a) s = Softmax<axis = 2>(t) "
         "h = Transpose<perm = [0, 2, 1]>(s)"), W, "first:8", opset=11),
    case("softmax-11-default", _TOKENS.format("t = Transpose<perm = [0, 2, 1]>(a) s = Softmax(t) "
         "h = Transpose<perm = [0, 2, 1]>(s)"), W, "", opset=11, frozen={"first:8": "Softmax runs over it"}),
    case("LRN", "(float[N, 3, 6, 6] x) => (float[N, 4, 6, 6] y) { [first] a = Conv(x, w1) h = LRN<size = 3>(a) "
         "[last] y = Conv(h, w2) }", {"w1": (8, 3, 1, 1), "w2": (4, 8, 1, 1)}, "", frozen={"first:8": "LRN runs"}),
    case("ReverseSequence", "(float[6, N, 4] x, int64[N] n) => (float[6, N, 5] y) { [first] a = MatMul(x, w1) "
         "h = ReverseSequence(a, n) [last] y = MatMul(h, w2) }", W, "first:8"),
]  # fmt: skip  # a table, a row a line

MS = {"com.microsoft": 1}
CASES += [
    case(f"contrib-{op}", between(f"h = com.microsoft.{op}(a{bias})"), {**W, "bias": (8,)}, "first:8", domains=MS)
    for op, bias in {"BiasGelu": ", bias", "FastGelu": ", bias", "Gelu": "", "QuickGelu": ""}.items()
]


@all_of(CASES)
def test_case(case: Case) -> None:
    check(case)


def test_every_operator_of_the_table_has_a_case() -> None:
    written = " ".join(one.text for one in CASES)
    assert [op for op in elementwise._OPS if f"= {op}(" not in written and f"= {op}<" not in written] == []


def test_constants_of_a_broadcast_are_cut() -> None:
    """Not only does it compute the same: the bias gets shorter."""
    from graphprune.ir.export import to_proto
    from graphprune.rewrite import remove_units
    from tests.axes.cases import typed
    from tests.graphs import initialisers

    one = next(one for one in CASES if one.name == "bias-of-more-axes")
    model, typing, groups = typed(one)
    kept = {groups[0].atom: np.arange(8) < 3}
    shapes = {name: array.shape for name, array in initialisers(to_proto(remove_units(model, typing, kept))).items()}
    assert shapes == {"w1": (4, 3), "bias": (1, 3), "scale": (), "w2": (3, 5)}
