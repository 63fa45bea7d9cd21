"""Normalisation: parameters go with their channel, what the statistics run over stays."""

from __future__ import annotations

import numpy as np

from tests.axes.cases import Case, Weights, all_of, between, case, check

MS = {"com.microsoft": 1}
CONV: Weights = {"w1": (8, 3, 1, 1), "w2": (4, 8, 1, 1), "s": (8,), "b": (8,), "m": (8,), "v": (8,)}
W: Weights = {"w1": (4, 8), "w2": (8, 5), "s": (8,), "b": (8,)}


def image(body: str) -> str:
    return f"(float[N, 3, 6, 6] x) => (float[N, 4, 6, 6] y) {{ [first] a = Conv(x, w1) {body} [last] y = Conv(h, w2) }}"


def tokens(body: str) -> str:
    return f"(float[N, S, 4] x) => (float[N, S, 5] y) {{ [first] a = MatMul(x, w1) {body} [last] y = MatMul(h, w2) }}"


CASES = [
    case("BatchNormalization", image("h = BatchNormalization(a, s, b, m, v)"), CONV, "first:8"),
    case("BatchNormalization-opset-11", image("h = BatchNormalization(a, s, b, m, v)"), CONV, "first:8", opset=11),
    case("BatchNormalization-of-vectors", between("h = BatchNormalization(a, s, b, m, v)"),
         {**W, "m": (8,), "v": (8,)}, "first:8"),
    case("BatchNormalization-in-training", image("h, rm, rv = BatchNormalization<training_mode = 1>(a, s, b, m, v)"), CONV,
         "", frozen={"first:8": "this use of BatchNormalization"}, missing="BatchNormalization"),
    case("InstanceNormalization", image("h = InstanceNormalization(a, s, b)"), CONV, "first:8"),
    case("GroupNormalization-21", image("h = GroupNormalization<num_groups = 4>(a, s, b)"), CONV, "first:4", opset=21,
         frozen={"first:2": "GroupNormalization runs over it"}),
    case("GroupNormalization-18", image("h = GroupNormalization<num_groups = 4>(a, s, b)"), {**CONV, "s": (4,), "b": (4,)}, "first:4",
         opset=18, frozen={"first:2": "GroupNormalization runs over it"}),
    case("SimplifiedLayerNormalization", tokens("[norm] n = SimplifiedLayerNormalization<axis = -1>(a, s) [up] u = MatMul(n, wu) "
         "[down] h = MatMul(u, wd)"), {**W, "wu": (8, 6), "wd": (6, 8)}, "up:6 down:8",
         frozen={"first:8": "SimplifiedLayerNormalization runs over it"}),
    case("GroupNormalization-of-one", image("h = GroupNormalization<num_groups = 1>(a, s, b)"), CONV, "", opset=21,
         frozen={"first:8": "GroupNormalization runs over it"}),
    case("GroupNormalization-of-each", image("h = GroupNormalization<num_groups = 8>(a, s, b)"), CONV, "first:8", opset=21),
    case("GroupNormalization-over-a-concat", image("[c] c = Conv(x, w3) d = Concat<axis = 1>(a, c) "
         "h = GroupNormalization<num_groups = 6>(d, s, b)"),
         {**CONV, "w1": (8, 3, 1, 1), "w3": (4, 3, 1, 1), "w2": (4, 12, 1, 1), "s": (12,), "b": (12,)}, "first:4 c:2",
         opset=21, frozen={"first:2": "GroupNormalization"}),
    case("GroupNormalization-by-reshape", image("r = Reshape(a, groups) n = InstanceNormalization(r, one, zero) "
         "q = Reshape(n, back) g = Mul(q, gs) h = Add(g, gb)"),
         {**CONV, "groups": np.array([0, 4, -1]), "one": np.ones(4, np.float32), "zero": np.zeros(4, np.float32),
          "back": np.array([0, 8, 6, 6]), "gs": (8, 1, 1), "gb": (8, 1, 1)}, "first:4", frozen={"first:2": "runs over it"}),
    case("GroupNormalization-twice-in-groups-that-straddle-a-concat", image("[c] c0 = Conv(x, w3) c1 = Reshape(c0, g1) "
         "c2 = InstanceNormalization(c1, one, zero) before = Shape(c0) c3 = Reshape(c2, before) d = Concat<axis = 1>(a, c3) "
         "d1 = Reshape(d, g2) d2 = InstanceNormalization(d1, one, zero) back = Shape(d) h = Reshape(d2, back)"),  # as TorchScript does
         {"w1": (10, 3, 1, 1), "w3": (10, 3, 1, 1), "w2": (4, 20, 1, 1), "one": np.ones(5, np.float32), "zero": np.zeros(5, np.float32),
          "g1": np.array([0, 5, -1]), "g2": np.array([0, 5, -1])}, "first:2 c:2", frozen={"first:2": "runs over it"}),
    case("LayerNormalization", tokens("h = LayerNormalization(a, s, b)"), W, "", frozen={"first:8": "LayerNormalization runs"}),
    case("LayerNormalization-of-another-axis", tokens("t = Transpose<perm = [2, 0, 1]>(a) h0 = LayerNormalization<axis = 1>(t, g) "
         "h = Transpose<perm = [1, 2, 0]>(h0)").replace("[N, S", "[2, 3"), {**W, "g": (2, 3)}, "first:8", sizes=({},)),
    case("LayerNormalization-with-statistics", tokens("t = Transpose<perm = [0, 2, 1]>(a) n, mean, inv = LayerNormalization(t, g) "
         "u = Transpose<perm = [0, 2, 1]>(n) e = Add(mean, inv) r = Transpose<perm = [0, 2, 1]>(e) h = Mul(u, r)").replace("S", "3"),
         {**W, "g": (3,)}, "first:8"),
    case("RMSNormalization", tokens("h = RMSNormalization(a, s)"), W, "", opset=23, frozen={"first:8": "RMSNormalization runs"}),
    case("MeanVarianceNormalization", image("h = MeanVarianceNormalization(a)"), CONV, "first:8"),
    case("MeanVarianceNormalization-of-channels", image("h = MeanVarianceNormalization<axes = [1]>(a)"), CONV, "",
         frozen={"first:8": "MeanVarianceNormalization runs"}),
    case("layer-norm-by-hand", tokens("mu = ReduceMean<axes = [-1]>(a) d = Sub(a, mu) q = Mul(d, d) v = ReduceMean<axes = [-1]>(q) "
         "e = Sqrt(v) h = Div(d, e)"), W, "", frozen={"first:8": "ReduceMean runs"}),
    case("contrib-SkipLayerNormalization", tokens("[c] c = MatMul(x, v) n, m, i, total = "
         "com.microsoft.SkipLayerNormalization<epsilon = 0.001>(a, c, s, b, bias) h = Add(n, total)"),
         {**W, "v": (4, 8), "bias": (8,)}, "", domains=MS, frozen={"first:8": "SkipLayerNormalization runs"}),
    case("contrib-SkipLayerNormalization-of-neurons", tokens("[up] u = MatMul(a, wu) r = Relu(u) [down] d = MatMul(r, wd) "
         "h = com.microsoft.SkipLayerNormalization<epsilon = 0.001>(a, d, s, b)"), {**W, "wu": (8, 6), "wd": (6, 8)}, "up:6",
         domains=MS, frozen={"first:8": "SkipLayerNormalization runs"}),
    case("contrib-SkipSimplifiedLayerNormalization", tokens("[up] u = MatMul(a, wu) r = Relu(u) [down] d = MatMul(r, wd) "
         "h, , , total = com.microsoft.SkipSimplifiedLayerNormalization<epsilon = 0.001>(a, d, s)"),
         {**W, "wu": (8, 6), "wd": (6, 8)}, "up:6", domains=MS, frozen={"first:8": "SkipSimplifiedLayerNormalization runs"}),
    case("contrib-EmbedLayerNormalization", "(float[N,S,4] x) => (float[N,S,3] y) { best = ArgMax<axis = 2, keepdims = 0>(x) "
         "ids = Cast<to = 6>(best) h, m = com.microsoft.EmbedLayerNormalization<epsilon = 0.001>(ids, , words, places, , s, b) "
         "[also] c = MatMul(x, v) t = Add(h, c) [up] u = MatMul(t, wu) r = Relu(u) [down] y = MatMul(r, wd) }",
         {"words": (4, 8), "places": (16, 8), "s": (8,), "b": (8,), "v": (4, 8), "wu": (8, 6), "wd": (6, 3)}, "up:6",
         domains=MS, frozen={"also:8": "EmbedLayerNormalization runs", "down:3": "model output"}),
]  # fmt: skip  # a table, a row a line


@all_of(CASES)
def test_case(case: Case) -> None:
    check(case)
