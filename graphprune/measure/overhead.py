"""What a run costs before it computes anything: starting the session, and starting each operator."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from graphprune.runtime.sessions import RuntimeOptions, open_session, run
from graphprune.runtime.timing import exactly, rounds_ms

_SHORT, _LONG = 8, 72
_OPERATORS = ("Sin", "Floor", "Cos", "Ceil")  # nothing fuses these
_RUNS = 60


def overhead_ms(nodes: int, options: RuntimeOptions) -> float:
    """Milliseconds of a run of ``nodes`` operators that compute next to nothing,
    from two chains of different length.
    """
    short, long = (_chain_ms(count, options) for count in (_SHORT, _LONG))
    each = max(0.0, (long - short) / (_LONG - _SHORT))
    return max(0.0, short + (nodes - _SHORT) * each)


def _chain_ms(count: int, options: RuntimeOptions) -> float:
    """Median time of a chain of ``count`` operators on one number."""
    nodes = [
        helper.make_node(_OPERATORS[i % len(_OPERATORS)], [f"t{i}"], [f"t{i + 1}"], name=f"n{i}") for i in range(count)
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("t0", f"t{count}")]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    session = open_session(model, options, spins=True)
    feeds = {"t0": np.ones(1, np.float32)}
    return float(np.median(rounds_ms([lambda: run(session, feeds)], exactly(_RUNS))))
