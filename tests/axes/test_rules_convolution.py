"""Convolutions of one to three dimensions: plain, grouped, depthwise, transposed, fused."""

from __future__ import annotations

import numpy as np

from tests.axes.cases import Case, Weights, all_of, case, check

_SPACE = {1: "6", 2: "6, 6", 3: "4, 4, 4"}


def net(body: str, *, dims: int = 2) -> str:
    """``body`` makes ``h`` of ``a``; both layers around it are convolutions that keep the space."""
    space = _SPACE[dims]
    places = ", ".join(f"s{index}" for index in range(dims))
    return (
        f"(float[N, 3, {space}] x) => (float[N, 4, {places}] y) "
        f"{{ [first] a = Conv(x, w1) {body} [last] y = Conv(h, w2) }}"
    )


def weights(first: int, last: int, dims: int = 2, **more: tuple[int, ...]) -> Weights:
    one = (1,) * dims
    return {"w1": (first, 3, *one), "w2": (4, last, *one), **more}


CASES = [
    case("plain-1d", net("[c] h = Conv<pads = [1, 1]>(a, w, b)", dims=1), weights(8, 6, 1, w=(6, 8, 3), b=(6,)),
         "first:8 c:6"),
    case("plain-2d", net("[c] h = Conv<strides = [2, 1], dilations = [1, 2]>(a, w, b)"),
         weights(8, 6, w=(6, 8, 3, 2), b=(6,)), "first:8 c:6"),
    case("plain-3d", net("[c] h = Conv(a, w)", dims=3), weights(8, 6, 3, w=(6, 8, 2, 2, 2)), "first:8 c:6"),
    case("auto-pad", net('[c] h = Conv<auto_pad = "SAME_UPPER", strides = [2, 2]>(a, w)'),
         weights(8, 6, w=(6, 8, 3, 3)), "first:8 c:6"),
    case("depthwise", net("h = Conv<group = 8, pads = [1, 1, 1, 1]>(a, w, b)"), weights(8, 8, w=(8, 1, 3, 3), b=(8,)),
         "first:8"),
    case("depthwise-1d", net("h = Conv<group = 8>(a, w)", dims=1), weights(8, 8, 1, w=(8, 1, 3)), "first:8"),
    case("depthwise-with-multiplier", net("[c] h = Conv<group = 4>(a, w, b)"), weights(4, 12, w=(12, 1, 3, 3), b=(12,)),
         "first:4 c:3"),
    case("grouped", net("[c] h = Conv<group = 3>(a, w, b)"), weights(12, 6, w=(6, 4, 3, 3), b=(6,)),
         "first:3 first:4 c:2"),
    case("grouped-3d", net("[c] h = Conv<group = 2>(a, w)", dims=3), weights(8, 6, 3, w=(6, 4, 2, 2, 2)),
         "first:2 first:4 c:3"),
    case("grouped-after-grouped", net("[c] b = Conv<group = 4>(a, v) [d] h = Conv<group = 2>(b, w)"),
         weights(8, 6, v=(12, 2, 1, 1), w=(6, 6, 1, 1)), "first:2 first:2 first:2 c:3 d:3"),
    case("two-inputs-to-a-depthwise", net("[other] c = Conv(x, v) s = Add(a, c) h = Conv<group = 8>(s, w)"),
         weights(8, 8, v=(8, 3, 1, 1), w=(8, 1, 1, 1)), "first:8"),
    case("grouped-over-a-concat", net("[other] c = Conv(x, v) s = Concat<axis = 1>(a, c) [g] h = Conv<group = 4>(s, w)"),
         weights(12, 8, v=(4, 3, 1, 1), w=(8, 4, 1, 1)), "first:3 first:4 g:2"),
    case("depthwise-over-a-concat", net("[other] c = Conv(x, v) s = Concat<axis = 1>(a, c) h = Conv<group = 9>(s, w)"),
         weights(5, 9, v=(4, 3, 1, 1), w=(9, 1, 1, 1)), "first:5 other:4"),
    case("transposed", net("[c] h = ConvTranspose<strides = [2, 2]>(a, w, b)"), weights(8, 6, w=(8, 6, 2, 2), b=(6,)),
         "first:8 c:6"),
    case("transposed-1d", net("[c] h = ConvTranspose<output_padding = [1], strides = [2]>(a, w)", dims=1),
         weights(8, 6, 1, w=(8, 6, 3)), "first:8 c:6"),
    case("transposed-3d", net("[c] h = ConvTranspose(a, w)", dims=3), weights(8, 6, 3, w=(8, 6, 2, 2, 2)), "first:8 c:6"),
    case("transposed-grouped", net("[c] h = ConvTranspose<group = 3>(a, w, b)"),
         weights(12, 6, w=(12, 2, 2, 2), b=(6,)), "first:3 first:4 c:2"),
    case("transposed-depthwise", net("h = ConvTranspose<group = 8>(a, w, b)"), weights(8, 8, w=(8, 1, 2, 2), b=(8,)),
         "first:8"),
    case("kernel-from-data", "(float[N, 3, 6, 6] x, float[4, 8, 1, 1] k) => (float[N, C, s0, s1] y) "
         "{ [first] a = Conv(x, w1) y = Conv(a, k) }", {"w1": (8, 3, 1, 1)}, "", frozen={"first:8": "model input"}),
    case("kernel-made-by-layers", "(float[N, 3, 6, 6] x, float[4, 5] z) => (float[N, C, s0, s1] y) { [first] a = Conv(x, w1) "
         "[maker] m = MatMul(z, wk) r = Unsqueeze(m, space) y = Conv(a, r) }",
         {"w1": (8, 3, 1, 1), "wk": (5, 8), "space": np.array([2, 3])}, "first:8"),
    case("one-kernel-read-twice", net("[c] b = Conv(a, w) [d] h = Conv(b, w)"), weights(8, 8, w=(8, 8, 1, 1)), "first:8"),
    case("one-kernel-read-apart", net("[c] b = Conv(a, w) p = GlobalAveragePool(x) [e] q = Conv(p, v) "
         "[d] r = Conv(q, w) h = Mul(b, r)"), weights(8, 6, v=(8, 3, 1, 1), w=(6, 8, 1, 1)), "first:8 c:6"),
    case("a-convolution-of-weights", "(float[N, 3, 6, 6] x, float[8, 4, 1, 1] k) => (float[N, C, s0, s1] y) "
         "{ [c] m = Conv(w1, k) y = Conv(x, m) }", {"w1": (6, 4, 3, 3)}, "", frozen={}),
]  # fmt: skip  # a table, a row a line

MS = {"com.microsoft": 1}
CASES += [
    case("fused", net('[c] h = com.microsoft.FusedConv<activation = "Relu">(a, w, b)'), weights(8, 6, w=(6, 8, 3, 3), b=(6,)),
         "first:8 c:6", domains=MS),
    case("fused-with-residual", net('[c] b = Conv(a, w) [d] h = com.microsoft.FusedConv<activation = "Relu">(a, v, '
         "c, b)"), weights(8, 6, w=(6, 8, 1, 1), v=(6, 8, 1, 1), c=(6,)), "first:8 c:6", domains=MS),
    case("fused-depthwise", net('h = com.microsoft.FusedConv<activation = "Relu", group = 8>(a, w, b)'),
         weights(8, 8, w=(8, 1, 3, 3), b=(8,)), "first:8", domains=MS),
]  # fmt: skip  # a table, a row a line


@all_of(CASES)
def test_case(case: Case) -> None:
    check(case)
