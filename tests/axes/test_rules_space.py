"""Pooling, resizing, and moving channels into space and back."""

from __future__ import annotations

import numpy as np

from tests.axes.cases import Case, Weights, all_of, case, check

W: Weights = {"w1": (8, 3, 1, 1), "w2": (4, 8, 1, 1)}
EMPTY = np.array([], np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def image(body: str) -> str:
    return f"(float[N, 3, 6, 6] x) => (float[N, 4, P, Q] y) {{ [first] a = Conv(x, w1) {body} [last] y = Conv(h, w2) }}"


def _spectrum(body: str) -> str:
    """Real parts of a transform of cells whose features come last."""
    return (
        f"(float[N, 6, 5, 4] x) => (float[N, P, Q, 3] y) {{ [first] a = MatMul(x, w1) u = Unsqueeze(a, end) {body} "
        "r = Gather<axis = -1>(f, zero) h = Relu(r) [last] y = MatMul(h, w2) }"
    )


_CELL: Weights = {"w1": (4, 8), "w2": (8, 3), "end": ints(-1), "zero": np.array(0)}
_POOLS = {
    "AveragePool": "<kernel_shape = [2, 2], strides = [2, 2]>",
    "MaxPool": "<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>",
    "LpPool": "<kernel_shape = [2, 2]>",
    "GlobalAveragePool": "",
    "GlobalMaxPool": "",
    "GlobalLpPool": "",
}

CASES = [
    *(case(op, image(f"h = {op}{attributes}(a)"), W, "first:8") for op, attributes in _POOLS.items()),
    case("MaxPool-of-a-signal", "(float[N, 3, 6] x) => (float[N, 4, P] y) { [first] a = Conv(x, w1) h = MaxPool<kernel_shape = [2]>(a) "
         "[last] y = Conv(h, w2) }", {"w1": (8, 3, 1), "w2": (4, 8, 1)}, "first:8"),
    case("MaxPool-with-places", image("b, i = MaxPool<kernel_shape = [2, 2]>(a) j = Cast<to = 1>(i) h = Add(b, j)"), W, "",
         frozen={"first:8": "indices count through it"}),
    case("MaxPool-with-places-as-output", "(float[N, 3, 6, 6] x) => (float[N, 4, P, Q] y, int64[N, 8, P, Q] i) { [first] a = Conv(x, w1) "
         "h, i = MaxPool<kernel_shape = [2, 2]>(a) [last] y = Conv(h, w2) }", W, "", frozen={"first:8": "indices count|model output"}),
    case("Resize-by-scales", image("h = Resize(a, , scales)"), {**W, "scales": floats(1, 1, 2, 2)}, "first:8"),
    case("Resize-by-scales-11", image("h = Resize(a, roi, scales)"), {**W, "roi": EMPTY, "scales": floats(1, 1, 1.5, 0.5)}, "first:8", opset=11),
    case("Resize-by-sizes", image("h = Resize(a, , , sizes)").replace("N", "2"), {**W, "sizes": ints(2, 8, 12, 9)}, "first:8", sizes=({},)),
    case("Resize-by-computed-sizes", image("s = Shape(a) c = Slice(s, zero, two) k = Concat<axis = 0>(c, space) "
         'h = Resize<mode = "linear">(a, , , k)'), {**W, "zero": ints(0), "two": ints(2), "space": ints(12, 9)}, "first:8"),
    case("Resize-18-by-axes", image("h = Resize<axes = [2, 3]>(a, , , sizes)"), {**W, "sizes": ints(12, 9)}, "first:8", opset=18),
    case("Resize-18-by-axes-with-channels", image("h = Resize<axes = [-3, 3]>(a, , , sizes)"), {**W, "sizes": ints(8, 9)}, "first:8", opset=18),
    case("Resize-18-scales-of-axes", image("h = Resize<axes = [3]>(a, , scales)"), {**W, "scales": floats(2)}, "first:8", opset=18),
    case("Resize-of-channels", image("h = Resize(a, , scales)"), {"w1": (8, 3, 1, 1), "w2": (4, 16, 1, 1), "scales": floats(1, 2, 1, 1)}, "",
         frozen={"first:8": "Resize interpolates"}),
    case("DepthToSpace-DCR", image('h = DepthToSpace<blocksize = 2, mode = "DCR">(a)'), {"w1": (12, 3, 1, 1), "w2": (4, 3, 1, 1)}, "first:3",
         frozen={"first:2": "moves it into space"}),
    case("DepthToSpace-CRD", image('h = DepthToSpace<blocksize = 2, mode = "CRD">(a)'), {"w1": (12, 3, 1, 1), "w2": (4, 3, 1, 1)}, "first:3",
         frozen={"first:2": "moves it into space"}),
    case("SpaceToDepth", image("[c] h = SpaceToDepth<blocksize = 2>(a)"), {**W, "w2": (4, 32, 1, 1)}, "first:8"),
    case("DepthToSpace-of-a-concat", image('[c] c = Conv(x, w3) d = Concat<axis = 1>(a, c) h = DepthToSpace<blocksize = 2, mode = "CRD">(d)'),
         {**W, "w3": (4, 3, 1, 1), "w2": (4, 3, 1, 1)}, "first:2", frozen={"first:2": "moves it into space"}),
    case("GridSample", "(float[N, 3, 6, 6] x, float[N, P, Q, 2] g) => (float[N, 4, P, Q] y) { [first] a = Conv(x, w1) h = GridSample(a, g) "
         "[last] y = Conv(h, w2) }", W, "first:8"),
    case("DFT", _spectrum("f = DFT<axis = 2>(u)"), _CELL, "first:8"),
    case("DFT-of-half", _spectrum("f = DFT<axis = 1, onesided = 1>(u, six)"), {**_CELL, "six": np.array(6)}, "first:8"),
    case("DFT-of-channels", _spectrum("f = DFT<axis = 3>(u)"), _CELL, "", frozen={"first:8": "DFT runs along it"}),
    case("DFT-20", _spectrum("f = DFT(u, , places)"), {**_CELL, "places": np.array(1)}, "first:8", opset=20),
    case("DFT-20-of-the-last-axis", _spectrum("f = DFT(u)"), _CELL, "", frozen={"first:8": "DFT runs along it"}, opset=20),
]  # fmt: skip  # a table, a row a line


@all_of(CASES)
def test_case(case: Case) -> None:
    check(case)
