"""Convolutional networks of a few nodes, one for each way in which filters hang together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from tests.graphs import build

_ENDS = "(float[N,3,8,8] x) => (float[N,4] y)"


def flattened() -> onnx.ModelProto:
    """Conv, BatchNormalization, a depthwise Conv, a Conv that shrinks the map, Flatten and two dense layers."""
    return build(
        f"""{_ENDS} {{
        [c1] a = Conv<pads = [1, 1, 1, 1]>(x, w1, b1) [n1] b = BatchNormalization(a, s1, t1, m1, v1) [r1] c = Relu(b)
        [dw] d = Conv<pads = [1, 1, 1, 1], group = 6>(c, w2) [r2] e = Relu(d)
        [c3] f = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(e, w3) [r3] g = Relu(f)
        [flat] h = Flatten(g) [fc1] i = Gemm<transB = 1>(h, w4, b4) [r4] j = Relu(i) [fc2] y = Gemm(j, w5, b5) }}""",
        {
            "w1": (6, 3, 3, 3),
            "b1": (6,),
            "s1": (6,),
            "t1": (6,),
            "m1": (6,),
            "v1": (6,),
            "w2": (6, 1, 3, 3),
            "w3": (8, 6, 3, 3),
            "w4": (10, 8 * 16),
            "b4": (10,),
            "w5": (10, 4),
            "b5": np.array([-3.5, 0.8, 0.5, 1.2], np.float32),
        },
    )


def grouped() -> onnx.ModelProto:
    """A residual stream of eight channels, and a convolution in four groups behind it."""
    return build(
        f"""{_ENDS} {{
        [stem] a = Conv<pads = [1, 1, 1, 1]>(x, w1)
        [c1] b = Conv<pads = [1, 1, 1, 1]>(a, w2) [r1] c = Relu(b) [c2] d = Conv<pads = [1, 1, 1, 1]>(c, w3)
        [join] e = Add(a, d) [c3] f = Conv(e, w4) [gc] g = Conv<pads = [1, 1, 1, 1], group = 4>(f, w5) [r2] h = Relu(g)
        [pool] i = GlobalAveragePool(h) [flat] j = Flatten(i) [fc] y = Gemm(j, w6) }}""",
        {
            "w1": (8, 3, 3, 3),
            "w2": (6, 8, 3, 3),
            "w3": (8, 6, 3, 3),
            "w4": (8, 8, 1, 1),
            "w5": (12, 2, 3, 3),
            "w6": (12, 4),
        },
    )


def stages(depths: Sequence[int], *, norms: bool = False, bias: np.ndarray | None = None) -> onnx.ModelProto:
    """Stages of blocks (6 filters, two Convs, joins ``join0`` ... with outputs ``t0`` ... and a Relu behind each), the
    first on maps of 12 x 12, each following one on maps half as wide, behind a Conv without a join. ``bias`` is the
    last layer's. Weights are called as torch calls them: ``stages.1.0.conv1.weight``.
    """
    lines = ["[stem] a0 = Conv<pads = [1, 1, 1, 1]>(x, w0) [act] h0 = Relu(a0)"]
    weights: dict[str, Sequence[int] | np.ndarray] = {"w0": (6, 3, 3, 3), "w_head": (6, 4)}
    weights["b_head"] = np.zeros(4, np.float32) if bias is None else bias
    names: dict[str, str] = {}
    entry, i = "h0", 0
    for stage, depth in enumerate(depths):
        if stage:
            lines.append(f"[down{stage}] d{stage} = Conv<strides = [2, 2]>({entry}, w_down{stage})")
            weights[f"w_down{stage}"] = (6, 6, 1, 1)
            entry = f"d{stage}"
        for place in range(depth):
            for conv in (1, 2):
                names[f"w{i}_{conv}"] = f"stages.{stage}.{place}.conv{conv}.weight"
                weights[f"w{i}_{conv}"] = (6, 6, 3, 3)
            lines += [f"[c{i}] p{i} = Conv<pads = [1, 1, 1, 1]>({entry}, w{i}_1) [r{i}] q{i} = Relu(p{i})"]
            lines += [f"[e{i}] s{i} = Conv<pads = [1, 1, 1, 1]>(q{i}, w{i}_2)"]
            if norms:
                lines.append(f"[n{i}] n{i} = BatchNormalization(s{i}, g{i}, b{i}, m{i}, v{i})")
                weights |= {f"{kind}{i}": (6,) for kind in "gbmv"}
            lines.append(f"[join{i}] t{i} = Add({entry}, {'n' if norms else 's'}{i}) [z{i}] h{i + 1} = Relu(t{i})")
            entry, i = f"h{i + 1}", i + 1
    lines.append(f"[pool] g = GlobalAveragePool({entry}) [flat] f = Flatten(g) [head] y = Gemm(f, w_head, b_head)")
    proto = build(f"(float[N,3,12,12] x) => (float[N,4] y) {{ {' '.join(lines)} }}", weights)
    for tensor in proto.graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    for node in proto.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
    return proto
