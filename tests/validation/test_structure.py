"""A graph that does not hang together is found by looking, without a session."""

from __future__ import annotations

from collections.abc import Callable

import onnx_graphsurgeon as gs
import pytest

from graphprune.errors import ValidationFailed
from graphprune.ir.loading import load
from graphprune.validation.structure import check_structure
from tests.graphs import build, residual_mlp

BRANCHES = """(float[N,4] x, bool c) => (float[N,4] y) { h = Relu(x)
    y = If(c) <then_branch = g1 () => (float[N,4] a) { a = Neg(h) },
        else_branch = g2 () => (float[N,4] b) { b = Exp(h) }> }"""


def test_sound_graphs_pass() -> None:
    check_structure(load(residual_mlp(2)), "nothing")
    check_structure(load(build(BRANCHES)), "nothing")


def unmade(graph: gs.Graph) -> None:
    graph.nodes[2].inputs[0] = gs.Variable("ghost")


def late(graph: gs.Graph) -> None:
    graph.nodes[0], graph.nodes[1] = graph.nodes[1], graph.nodes[0]


def twice(graph: gs.Graph) -> None:
    graph.nodes[2].outputs[0].name = graph.nodes[1].outputs[0].name


def namesakes(graph: gs.Graph) -> None:
    graph.nodes[2].name = graph.nodes[1].name


def equal_constants(graph: gs.Graph) -> None:
    graph.nodes[1].inputs[1].name = graph.nodes[0].inputs[1].name


def no_output(graph: gs.Graph) -> None:
    graph.outputs = [gs.Variable("ghost")]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (unmade, "reads ghost, which nothing has made by then"),
        (late, "which nothing has made by then"),
        (twice, "is made twice"),
        (namesakes, "two nodes are called"),
        (equal_constants, "reads one of two tensors called w_stem"),
        (no_output, "nothing makes the output ghost"),
    ],
)
def test_what_does_not_hang_together_is_said(spoil: Callable[[gs.Graph], None], says: str) -> None:
    model = load(residual_mlp(2))
    spoil(model.graph)
    with pytest.raises(ValidationFailed, match=f"the network after pass x does not hang together: .*{says}"):
        check_structure(model, "pass x")


def test_a_branch_that_reads_what_is_gone_is_found() -> None:
    model = load(build(BRANCHES))
    model.graph.nodes = [node for node in model.graph.nodes if node.op != "Relu"]
    with pytest.raises(ValidationFailed, match="reads h, which nothing has made"):
        check_structure(model, "pass x")
