"""Small graphs that seem to have a block, by the rule that refuses it."""

from __future__ import annotations

import numpy as np

from tests.analysis.block_cases import CNN, HEAD, MLP, ROW_HEAD, ROW_STEM, ROWS, SAME, Case

REFUSED = {
    "arithmetic": Case(
        f"""{ROWS} {{
          h = MatMul(x, w0) cube = Pow(h, three) s = Mul(cube, c) [join] i = Add(h, s)
          t = Tanh(i) last = Mul(h, t) {ROW_HEAD} }}""",
        ROW_STEM | {"three": np.array(3, np.float32), "c": np.array(0.044715, np.float32)},
        {},
    ),
    "residual-shape": Case(
        f"""(float[N,1,8] x) => (float[N,5,4] y) {{
          h = MatMul(x, w0) a = MatMul(column, h) b = MatMul(a, w1) [join] last = Add(h, b) {ROW_HEAD} }}""",
        ROW_STEM | {"column": (5, 1), "w1": (8, 8)},
        {},
    ),
    "residual-shape (Slice and Pad)": Case(
        f"""{CNN} {{
          c0 = Conv<{SAME}>(x, w00) h = Relu(c0)
          a = Conv<{SAME}, strides = [2, 2]>(h, w1) b = Relu(a) c = Conv<{SAME}>(b, w2)
          s = Slice(h, from, to, axes, steps) q = Pad(s, pads)
          [join] j = Add(c, q) last = Relu(j) {HEAD} }}""",
        {"w00": (4, 3, 3, 3), "w1": (8, 4, 3, 3), "w2": (8, 8, 3, 3), "wf": (8, 4)}
        | {name: np.full(2, value, np.int64) for name, value in (("from", 0), ("to", 9), ("steps", 2))}
        | {"axes": np.array([2, 3], np.int64), "pads": np.array([0, 2, 0, 0, 0, 2, 0, 0], np.int64)},
        {},
    ),
    "projection-shortcut": Case(
        f"""{CNN} {{
          c0 = Conv<{SAME}>(x, w00) h = Relu(c0)
          a = Conv<{SAME}, strides = [2, 2]>(h, w1) b = Relu(a) c = Conv<{SAME}>(b, w2)
          s = Conv<strides = [2, 2]>(h, w3) [join] j = Add(c, s) last = Relu(j) {HEAD} }}""",
        {"w00": (4, 3, 3, 3), "w1": (8, 4, 3, 3), "w2": (8, 8, 3, 3), "w3": (8, 4, 1, 1), "wf": (8, 4)},
        {},
    ),
    "no-shortcut": Case(
        f"""(int64[N,5] ids, int64[N,5] places) => (float[N,5,4] y) {{
          a = Gather(tokens, ids) b = Gather(positions, places) [join] last = Add(a, b) {ROW_HEAD} }}""",
        {"tokens": (9, 8), "positions": (9, 8), "wf": (8, 4)},
        {},
    ),
    "no-shortcut (twice the same)": Case(
        f"{ROWS} {{ h = MatMul(x, w0) [join] last = Add(h, h) {ROW_HEAD} }}", ROW_STEM, {}
    ),
    "no-shortcut (turned by the position)": Case(
        f"""{ROWS} {{
          h = MatMul(x, w0) c = Mul(h, cosines) l, r = Split<axis = 2>(h) m = Neg(r) q = Concat<axis = 2>(m, l)
          s = Mul(q, sines) [join] last = Add(c, s) {ROW_HEAD} }}""",
        ROW_STEM | {"cosines": (5, 8), "sines": (5, 8)},
        {},
    ),
    "no-shortcut (three of which one is a stranger)": Case(
        f"""(float[N,5,8] x, float[N,5,8] z) => (float[N,5,4] y) {{
          h = MatMul(x, w0) a = MatMul(h, w1) t = Tanh(a) b = MatMul(t, w2) [join] last = Sum(h, b, z) {ROW_HEAD} }}""",
        ROW_STEM | MLP,
        {},
    ),
    "second-entry (an encoder that serves one layer)": Case(
        f"""(float[N,5,8] x, float[N,7,8] z) => (float[N,5,4] y) {{
          e0 = MatMul(z, wq) e1 = Tanh(e0) h = MatMul(x, w0) q = MatMul(h, wq) k = MatMul(e1, wk)
          t = Transpose<perm = [0, 2, 1]>(k) s = MatMul(q, t) p = Softmax<axis = -1>(s) v = MatMul(e1, wv)
          a = MatMul(p, v) o = MatMul(a, wo) [join] last = Add(h, o) {ROW_HEAD} }}""",
        ROW_STEM | {name: (8, 8) for name in ("wq", "wk", "wv", "wo")},
        {},
    ),
    "side-reader": Case(
        f"""{ROWS} {{
          h = MatMul(x, w0) a = MatMul(h, w1) t = Tanh(a) b = MatMul(t, w2) [join] j = Add(h, b)
          s = MatMul(t, w2) last = Mul(j, s) {ROW_HEAD} }}""",
        ROW_STEM | MLP,
        {},
    ),
    "graph-output": Case(
        f"""(float[N,5,8] x) => (float[N,5,4] y, float[N,5,16] t) {{
          h = MatMul(x, w0) a = MatMul(h, w1) t = Tanh(a) b = MatMul(t, w2) [join] last = Add(h, b) {ROW_HEAD} }}""",
        ROW_STEM | MLP,
        {},
    ),
    "graph-output (the exit, behind an input)": Case(
        "(float[N,8] x) => (float[N,8] y) { a = MatMul(x, w1) t = Tanh(a) b = MatMul(t, w2) [join] y = Add(x, b) }",
        MLP,
        {},
    ),
    "graph-output (entry and exit)": Case(
        """(float[N,8] x) => (float[N,8] y, float[N,8] h) {
          h = Tanh(x) a = MatMul(h, w1) t = Tanh(a) b = MatMul(t, w2) [join] y = Add(h, b) }""",
        MLP,
        {},
    ),
    "second-entry": Case(
        f"""(float[N,5,8] x, float[N,5,8] z) => (float[N,5,4] y) {{
          h = MatMul(x, w0) a = MatMul(h, w1) c = MatMul(z, w3) p = Mul(a, c) b = MatMul(p, w2)
          [join] last = Add(h, b) {ROW_HEAD} }}""",
        ROW_STEM | MLP | {"w3": (8, 16)},
        {},
    ),
    "control-flow": Case(
        """(float[N,8] x) => (float[N,8] y) {
          h = Tanh(x) a = MatMul(h, w1) t = Tanh(a) b = MatMul(t, w2) [join] j = Add(h, b)
          total = ReduceSum<keepdims = 0>(x) flag = Greater(total, zero)
          y = If(flag) <
            then_branch = yes () => (float[N,8] u) { u = Tanh(j) },
            else_branch = no () => (float[N,8] v) { v = Sin(x) }
          > }""",
        MLP | {"zero": np.array(0, np.float32)},
        {},
    ),
    "control-flow (inside the branch)": Case(
        """(float[N,8] x) => (float[N,8] y) {
          h = Tanh(x) a = MatMul(h, w1) total = ReduceSum<keepdims = 0>(h) flag = Greater(total, zero)
          t = If(flag) <
            then_branch = yes () => (float[N,16] u) { u = Tanh(a) },
            else_branch = no () => (float[N,16] v) { v = Sin(a) }
          >
          b = MatMul(t, w2) [join] j = Add(h, b) y = Tanh(j) }""",
        MLP | {"zero": np.array(0, np.float32)},
        {},
    ),
    "contains-blocks": Case(
        f"""{ROWS} {{
          h = MatMul(x, w0) a = MatMul(h, w1) t = Tanh(a) b = MatMul(t, w2) [one] j = Add(h, b)
          c = MatMul(j, w1) u = Tanh(c) d = MatMul(u, w2) [two] k = Add(j, d)
          e = MatMul(k, w0) [join] last = Add(h, e) {ROW_HEAD} }}""",
        ROW_STEM | MLP,
        {},
    ),
}
