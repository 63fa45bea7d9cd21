"""Axes laid one behind the other, and cut apart: Concat, Split, Slice, Pad."""

from __future__ import annotations

import numpy as np

from tests.axes.cases import Case, Weights, all_of, between, case, check

W: Weights = {"w1": (4, 10), "w2": (10, 5)}
MAX = np.iinfo(np.int64).max


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def sliced(name: str, start: int, end: int, last: int, free: str, frozen: str = "", step: int = 1) -> Case:
    """``a[:, start:end:step]`` beside a reader of all of ``a``, so that every piece has a reader."""
    weights: Weights = {
        "w1": (4, 10),
        "w2": (last, 5),
        "w3": (10, 5),
        "s": ints(start),
        "e": ints(end),
        "i": ints(-1),
        "t": ints(step),
    }
    return case(
        name,
        between("h = Slice(a, s, e, i, t)", out="float[N, 5] z, float[N, 5]", after="[all] z = MatMul(a, w3)"),
        weights,
        free,
        frozen={"first:10": frozen} if frozen else {},
    )


CASES = [
    case("Concat", between("[second] b = MatMul(x, v) h = Concat<axis = -1>(a, b)"), {**W, "v": (4, 6), "w2": (16, 5)},
         "first:10 second:6"),
    case("Concat-the-other-way", between("[second] b = MatMul(x, v) h = Concat<axis = 1>(b, a, b)"),
         {**W, "v": (4, 6), "w2": (22, 5)}, "first:10 second:6"),
    case("Concat-of-rows", "(float[N, S, 4] x) => (float[N, T, 5] y) { [first] a = MatMul(x, w1) [second] b = MatMul(x, v) "
         "h = Concat<axis = 1>(a, b) [last] y = MatMul(h, w2) }", {**W, "v": (4, 10)}, "first:10"),
    case("Concat-with-a-constant", between("e = Mul(a, scale) h = Concat<axis = 0>(e, token)"),
         {**W, "scale": (10,), "token": (3, 10)}, "first:10"),
    case("Concat-added-to-a-layer", between("[second] b = MatMul(x, v) c = Concat<axis = 1>(a, b) [third] d = MatMul(x, u) "
         "h = Add(c, d)"), {**W, "v": (4, 6), "u": (4, 16), "w2": (16, 5)}, "first:10 second:6"),
    case("Concats-that-overlap", between("[b] b = MatMul(x, v) c = Concat<axis = 1>(a, b) d = Concat<axis = 1>(b, a) h = Add(c, d)"),
         {**W, "v": (4, 6), "w2": (16, 5)}, "first:2 b:2 first:2"[:0] + "first:2"),
    case("Split-into-shares", between("b, c = Split<axis = 1>(a) h = Mul(b, c)"), {**W, "w2": (5, 5)}, "first:5"),
    case("Split-into-shares-of-their-own", between("b, c = Split<axis = 1>(a) [g] g = MatMul(b, w3) [last2] f = MatMul(c, w2) "
         "e = Relu(g) [k] h = Mul(e, f)").replace("[last] y = MatMul(h, w2)", "y = Relu(h)"),
         {**W, "w2": (5, 5), "w3": (5, 5)}, "first:5 first:5"),
    case("Split-11", between("b, c = Split<axis = 1, split = [6, 4]>(a) [g] g = MatMul(b, w3) [f] f = MatMul(c, w2) h = Mul(g, f)")
         .replace("[last] y = MatMul(h, w2)", "y = Relu(h)"), {**W, "w2": (4, 5), "w3": (6, 5)}, "first:6 first:4", opset=11),
    case("Split-11-into-shares", between("b, c = Split<axis = -1>(a) [g] g = MatMul(b, w3) [f] f = MatMul(c, w2) h = Mul(g, f)")
         .replace("[last] y = MatMul(h, w2)", "y = Relu(h)"), {**W, "w2": (5, 5), "w3": (5, 5)}, "first:5 first:5", opset=11),
    case("Split-13", between("b, c = Split<axis = 1>(a, sizes) [g] g = MatMul(b, w3) [f] f = MatMul(c, w2) h = Mul(g, f)")
         .replace("[last] y = MatMul(h, w2)", "y = Relu(h)"), {**W, "w2": (4, 5), "w3": (6, 5), "sizes": ints(6, 4)},
         "first:6 first:4"),
    case("Split-18", between("b, c, d = Split<axis = 1, num_outputs = 3>(a) [g] g = MatMul(b, w3) [f] f = MatMul(c, w2) "
         "[e] e = MatMul(d, w4) h = Sum(g, f, e)").replace("[last] y = MatMul(h, w2)", "y = Relu(h)"),
         {**W, "w2": (4, 5), "w3": (4, 5), "w4": (2, 5)}, "first:4 first:4 first:2", opset=18),
    case("Split-with-an-unread-piece", between("b, c = Split<axis = 1>(a, sizes) h = Relu(b)"),
         {**W, "w2": (6, 5), "sizes": ints(6, 4)}, "first:6 first:4"),
    case("Split-of-heads", "(float[N, S, 4] x) => (float[N, S, 5] y) { [first] a = MatMul(x, w1) r = Reshape(a, heads) "
         "b, c = Split<axis = 3>(r, sizes) d = Reshape(b, flat) e = Reshape(c, flat) [f] f = MatMul(d, w2) [g] g = MatMul(e, w3) "
         "y = Add(f, g) }", {"w1": (4, 15), "heads": ints(0, 0, 3, 5), "sizes": ints(3, 2), "flat": ints(0, 0, -1), "w2": (9, 5),
         "w3": (6, 5)}, "first:3 first:3 first:2"),
    case("Split-through-a-head", "(float[N, S, 4] x) => (float[N, S, 5] y) { [first] a = MatMul(x, w1) r = Reshape(a, heads) "
         "t = Transpose<perm = [0, 2, 1, 3]>(r) s = Transpose<perm = [0, 2, 1, 3]>(t) q = Reshape(s, flat) b, c = Split<axis = 2>(q, sizes) "
         "[f] f = MatMul(b, w2) [g] g = MatMul(c, w3) y = Add(f, g) }", {"w1": (4, 15), "heads": ints(0, 0, 3, 5), "sizes": ints(7, 8),
         "flat": ints(0, 0, -1), "w2": (7, 5), "w3": (8, 5)}, "first:2 first:3"),
    case("shuffle-of-an-odd-width", "(float[N, 4, 3, 3] x) => (float[N, 5, 3, 3] y) { [first] a = Conv(x, w1) r = Reshape(a, groups) "
         "t = Transpose<perm = [0, 2, 1, 3, 4]>(r) q = Reshape(t, flat) b, c = Split<axis = 1>(q, sizes) [mid] m = Conv(c, w2) "
         "d = Concat<axis = 1>(b, m) [last] y = Conv(d, w3) }", {"w1": (18, 4, 1, 1), "groups": ints(0, 2, 9, 3, 3),
         "flat": ints(0, 18, 3, 3), "sizes": ints(9, 9), "w2": (6, 9, 1, 1), "w3": (5, 15, 1, 1)}, "first:4 first:4 mid:6"),
    sliced("Slice-front", 0, 6, 6, "first:6 first:4"),
    sliced("Slice-back", 6, MAX, 4, "first:6 first:4"),
    sliced("Slice-back-with-an-end", 6, 10, 4, "first:6 first:4"),
    sliced("Slice-middle", 3, 7, 4, "first:3 first:4 first:3"),
    sliced("Slice-all-but-the-last", 0, -2, 8, "first:8 first:2"),
    sliced("Slice-the-last", -4, MAX, 4, "first:6 first:4"),
    sliced("Slice-middle-from-behind", -7, -3, 4, "first:3 first:4 first:3"),
    sliced("Slice-far-beyond", -100, 100, 10, "first:10"),
    sliced("Slice-of-one", 0, 1, 1, "first:9"),
    sliced("Slice-a-lane", 0, MAX, 5, "first:5", step=2),
    sliced("Slice-the-other-lane", 1, 10, 5, "first:5", step=2),
    sliced("Slice-a-lane-of-five", 3, MAX, 2, "first:2", step=5),
    sliced("Slice-uneven-lanes", 0, MAX, 4, "", "Slice takes some of it", step=3),
    sliced("Slice-a-part-of-a-lane", 0, 8, 4, "", "Slice takes some of it", step=2),
    sliced("Slice-a-lane-further-on", 2, MAX, 4, "", "Slice takes some of it", step=2),
    case("interleaved-rotation", "(float[N, S, 4] x) => (float[N, S, 5] y) { [first] a = MatMul(x, w1) r = Reshape(a, heads) "
         "e = Slice(r, o0, max, last, two) o = Slice(r, o1, max, last, two) n = Neg(o) nu = Unsqueeze(n, last) eu = Unsqueeze(e, last) "
         "s = Concat<axis = -1>(nu, eu) t = Reshape(s, heads) c = Mul(r, cos) d = Mul(t, sin) q = Add(c, d) f = Reshape(q, flat) "
         "[last] y = MatMul(f, w2) }", {"w1": (4, 18), "w2": (18, 5), "heads": ints(0, 0, 3, 6), "flat": ints(0, 0, 18),
         "o0": ints(0), "o1": ints(1), "max": ints(MAX), "last": ints(-1), "two": ints(2), "cos": (6,), "sin": (6,)},
         "first:3 first:3"),
    sliced("Slice-backwards", -1, -MAX, 10, "", "Slice takes some of it", step=-1),
    case("Slice-without-axes", "(float[6, 4] x) => (float[4, 5] y) { [first] a = MatMul(x, w1) b = Slice(a, s, e) [last] y = MatMul(b, w2) }",
         {"w1": (4, 8), "w2": (6, 5), "s": ints(0, 2), "e": ints(4, 8)}, "first:2 first:6"),
    case("Slice-of-rows", "(float[N, S, 4] x) => (float[N, T, 5] y) { [first] a = MatMul(x, w1) b = Slice(a, s, e, i) [last] y = MatMul(b, w2) }",
         {"w1": (4, 8), "w2": (8, 5), "s": ints(1), "e": ints(MAX), "i": ints(1)}, "first:8"),
    case("halves-that-are-swapped", between("b = Slice(a, zero, five, one) c = Slice(a, five, ten, one) n = Neg(c) h = Concat<axis = 1>(n, b)"),
         {**W, "zero": ints(0), "five": ints(5), "ten": ints(10), "one": ints(1)}, "first:5 first:5"),
    case("Pad-channels", "(float[N, 3, 6, 6] x) => (float[N, 4, 6, 6] y) { [first] a = Conv(x, w1) p = Pad(a, pads) [second] b = Conv(a, v) "
         "s = Add(p, b) [last] y = Conv(s, w2) }", {"w1": (8, 3, 1, 1), "v": (14, 8, 1, 1), "w2": (4, 14, 1, 1),
         "pads": ints(0, 2, 0, 0, 0, 4, 0, 0)}, "first:8 second:2 second:4"),
    case("Pad-channels-and-space", "(float[N, 3, 6, 6] x) => (float[N, 4, 8, 8] y) { [first] a = Conv(x, w1) p = Pad(a, pads) [last] y = Conv(p, w2) }",
         {"w1": (8, 3, 1, 1), "w2": (4, 11, 1, 1), "pads": ints(0, 0, 1, 1, 0, 3, 1, 1)}, "first:8"),
    case("Pad-18-with-axes", between("h = Pad(a, pads, value, axes)"), {"w1": (4, 8), "w2": (13, 5), "pads": ints(2, 3),
         "value": np.float32(7), "axes": ints(-1)}, "first:8", opset=18),
    case("Pad-with-reflection", between('h = Pad<mode = "reflect">(a, pads)'), {"w1": (4, 8), "w2": (13, 5), "pads": ints(0, 2, 0, 3)}, "",
         frozen={"first:8": "Pad runs along it"}),
    case("Pad-that-crops", between("h = Pad(a, pads)"), {"w1": (4, 8), "w2": (5, 5), "pads": ints(0, -1, 0, -2)}, "",
         frozen={"first:8": "Pad runs along it"}),
    case("strided-shortcut-with-padded-channels", "(float[N, 3, 6, 6] x) => (float[N, 4, 1, 1] y) { [first] a = Conv(x, w1) r = Relu(a) "
         "[c1] b = Conv<strides = [2, 2], pads = [1, 1, 1, 1]>(r, v1) q = Relu(b) [c2] c = Conv<pads = [1, 1, 1, 1]>(q, v2) "
         "s = Slice(r, zero, most, space, two) p = Pad(s, pads) d = Add(c, p) g = GlobalAveragePool(d) [last] y = Conv(g, w2) }",
         {"w1": (6, 3, 1, 1), "v1": (8, 6, 3, 3), "v2": (12, 8, 3, 3), "w2": (4, 12, 1, 1), "zero": ints(0, 0), "most": ints(MAX, MAX),
          "space": ints(2, 3), "two": ints(2, 2), "pads": ints(0, 3, 0, 0, 0, 3, 0, 0)}, "first:6 c1:8 c2:3 c2:3"),
]  # fmt: skip  # a table, a row a line


@all_of(CASES)
def test_case(case: Case) -> None:
    check(case)
