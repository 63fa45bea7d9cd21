"""Parts in the bodies of Loop and Scan: what they carry on, read from outside, and give at every step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx

from tests.property.drawing import Drawing


def looped(d: Drawing, x: str, step: Callable[[str], str], side: Callable[[str], str]) -> str:
    """``x`` after a few times ``step``, which keeps its shape; perhaps with the mean of what ``side`` makes
    of it at each.
    """
    number, go, state = (f"{what}{d.count}" for what in ("step", "go", "state"))
    has_side, is_shared = d.maybe(), d.maybe()

    def draw() -> list[str]:
        on = d.node("Identity", go)
        after = step(state)
        after = d.node("Add", after, x) if is_shared else after  # which is read from outside
        return [on, d.node("Tanh", after), *([side(state)] if has_side else [])]

    given = [(number, onnx.TensorProto.INT64), (go, onnx.TensorProto.BOOL), (state, onnx.TensorProto.FLOAT)]
    body = d.body(draw, given)
    body.output[0].type.tensor_type.elem_type = onnx.TensorProto.BOOL
    d.weights[times := f"times{d.count}"] = np.array(d.pick((2, 1, 3)))
    results = d.nodes_of("Loop", 2 if has_side else 1, times, "", x, body=body)
    if not has_side:
        return results[0]
    return d.node("Add", results[0], d.reduce_mean(results[1], (0,), keep=False))


def scanned(d: Drawing, x: str, width: int, out: int, layer: Callable[[str, int, int], str]) -> str:
    """Tokens (N, S, width) one after the other, with a state that starts as their mean: (N, S, out).

    ``layer`` makes rows of the second width of rows of the first.
    """
    state, token = (f"{what}{d.count}" for what in ("state", "token"))
    is_joined, has_shortcut, along = d.maybe(), d.maybe(), d.choose(2)

    def draw() -> list[str]:
        if is_joined:
            both, inner = d.node("Concat", state, token, axis=1), 2 * width
        else:
            both, inner = d.node("Add", state, token), width
        hidden = d.size()
        change = layer(d.activate(layer(both, inner, hidden)), hidden, width)
        after = d.node("Tanh", d.node("Add", change, state) if has_shortcut else change)
        return [after, layer(after, width, out)]

    body = d.body(draw, [(state, onnx.TensorProto.FLOAT), (token, onnx.TensorProto.FLOAT)], rank=2)
    begin = d.reduce_mean(x, (1,), keep=False)
    if along:  # the second axis is that of the tokens, outside and inside
        axes = {"scan_input_axes": [1], "scan_output_axes": [1]}
        return d.nodes_of("Scan", 2, begin, x, num_scan_inputs=1, body=body, **axes)[1]
    turned = d.node("Transpose", x, perm=[1, 0, 2])
    return d.node("Transpose", d.nodes_of("Scan", 2, begin, turned, num_scan_inputs=1, body=body)[1], perm=[1, 0, 2])
