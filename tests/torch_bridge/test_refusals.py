"""What cannot be converted is said in one sentence; torch stays out of the way of those who do not ask for it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from graphprune.base import extras
from graphprune.errors import ModelError, RuntimeMissing
from tests.torch_bridge.graphs import build, draw, node


def test_importing_graphprune_or_the_bridge_does_not_import_torch() -> None:
    code = "import sys, graphprune.torch_bridge, graphprune.module_surgery; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_torch_names_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(RuntimeMissing, match=r"pip install 'graphprune\[torch\]'"):
        extras.torch()


def test_an_operator_without_a_rule_is_named_with_its_node() -> None:
    pytest.importorskip("torch", reason="the bridge leads to torch")
    from graphprune.torch_bridge import to_torch

    nodes = [node("Unique", "x", "u", name="odd"), node("Relu", "u")]
    with pytest.raises(ModelError, match=r"node 'odd' .*no rule for the operator Unique \(opset 18\); .*add a rule"):
        to_torch(build(nodes, {"x": draw(7)}))


def test_a_branch_that_the_data_decide_is_refused() -> None:
    pytest.importorskip("torch", reason="the bridge leads to torch")
    import onnx

    from graphprune.torch_bridge import to_torch

    value = onnx.helper.make_tensor_value_info("b", onnx.TensorProto.FLOAT, [4])
    body = onnx.helper.make_graph([onnx.helper.make_node("Neg", ["x"], ["b"])], "body", [], [value])
    nodes = [
        node("ReduceSum", "x", "s", keepdims=0),
        node("Greater", "s zero", "c"),
        node("If", "c", "y", then_branch=body, else_branch=body, name="fork"),
    ]
    with pytest.raises(ModelError, match=r"node 'fork'.*depends on the data"):
        to_torch(build(nodes, {"x": draw(4)}, {"zero": np.array(0, np.float32)}))
