"""Shapes found by running the model on made-up inputs: the last resort, where no inference knows them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from graphprune.errors import ModelError
from graphprune.ir.export import extract
from graphprune.ir.model import Model, leading_to, node_reads
from graphprune.runtime.plugins import plugins
from graphprune.runtime.sessions import RuntimeOptions, open_session, run

log = logging.getLogger(__name__)

ConcreteShape = tuple[int, ...]
_INTEGERS = ((1, 0), (1, 2))
"""What integer inputs hold in two runs: ids of tables that may have two rows only, or counts that may not be zero."""


def measured_shapes(
    model: Model, inputs: Mapping[str, ConcreteShape], names: Collection[str]
) -> dict[str, ConcreteShape]:
    """Shapes of those of the tensors ``names`` that ONNX Runtime can compute from inputs of these shapes.

    The part of the model that leads to them runs twice, on different data. What then has two shapes depends on data,
    not on sizes, and is left out; so is all of it if the model does not run at these sizes.
    """
    nodes = _runnable_to(model, names)
    reachable = {tensor.name for node in nodes for tensor in node.outputs}
    wanted = [name for name in dict.fromkeys(names) if name in reachable]
    if not wanted:
        return {}
    outputs = [f"graphprune/shape/{index}" for index in range(len(wanted))]
    read = {tensor.name for node in nodes for tensor in node_reads(node)}
    given = [tensor.name for tensor in model.graph.inputs if tensor.name in read]
    for low, high in _INTEGERS:
        try:
            session = open_session(lambda: _measuring(model, nodes, given, wanted, outputs), _ALONE, model.folder)
            first, second = (
                run(session, {name: _made_up(model, name, inputs[name], integer) for name in given}, outputs)
                for integer in (low, high)
            )
        except ModelError as error:
            log.debug("shapes cannot be measured: %s", error)
            continue
        return {
            name: tuple(map(int, one))
            for name, one, other in zip(wanted, first, second, strict=True)
            if one.tolist() == other.tolist()
        }
    return {}


_ALONE = RuntimeOptions()


def _runnable_to(model: Model, names: Collection[str]) -> list[gs.Node]:
    """The nodes that the tensors need, in order, without those that ONNX Runtime does not know or cannot feed."""
    fed = {tensor.name for tensor in model.graph.inputs}
    foreign = {node.name for node in plugins(model)}
    runnable = []
    for node in model.graph.nodes:
        reads = [tensor for tensor in node_reads(node) if not isinstance(tensor, gs.Constant)]
        if node.name not in foreign and all(tensor.name in fed for tensor in reads):
            runnable.append(node)
            fed |= {tensor.name for tensor in node.outputs}
    return leading_to(runnable, names)


def _measuring(
    model: Model, nodes: list[gs.Node], given: list[str], wanted: list[str], outputs: list[str]
) -> onnx.ModelProto:
    """The nodes with a Shape of every tensor that is wanted; nothing large leaves the runtime."""
    proto = extract(model, [node.name for node in nodes], given, [])
    for name, output in zip(wanted, outputs, strict=True):
        proto.graph.node.append(onnx.helper.make_node("Shape", [name], [output], name=output))
        proto.graph.output.append(onnx.helper.make_tensor_value_info(output, onnx.TensorProto.INT64, None))
    return proto


def _made_up(model: Model, name: str, shape: ConcreteShape, integer: int) -> np.ndarray:
    """Numbers that any network takes: small ones, true, and one and the same integer."""
    kind = model.dtypes.get(name, onnx.TensorProto.FLOAT)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
    if dtype.kind in "iub":
        return np.full(shape, integer if dtype.kind != "b" else 1, dtype)
    if dtype.kind == "O":
        return np.full(shape, "", dtype)
    return np.random.default_rng(integer).uniform(0, 1, shape).astype(dtype)
