"""Constant folding: what depends on constants alone is computed once, and its numbers take its place."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from graphprune.base import extras
from graphprune.ir.export import export_node
from graphprune.ir.model import is_beside, leading_to, node_reads, read_values
from graphprune.ir.quantised import ROUNDING

log = logging.getLogger(__name__)

_LIMIT_BYTES = 64 << 20  # an Expand of a constant must not blow up the file
_FED_BYTES = 1 << 10  # larger constants are handed over as they lie in memory, not copied into a graph
RANDOM = {"RandomNormal", "RandomUniform", "Multinomial", "Bernoulli", "RandomNormalLike", "RandomUniformLike"}
_QUANTISATION = {*ROUNDING, "DynamicQuantizeLinear"}  # folded, they would be none


def fold_constants(
    graph: gs.Graph, header: onnx.ModelProto, folder: Path | None, own_file: str = "", *, is_body: bool = False
) -> None:
    """Make constants of what ``graph``, in topological order, computes from constants alone.

    Quantisation is left as it is, random numbers stay random. What reads a weight in an external data file
    stays, too: folding one small reader must not pull the weight into the file. ``header`` gives the versions,
    ``own_file`` is the name of the model's own file.
    Every number is computed once, in one run where all nodes work; nodes that do not are left.
    What a body gives must be made in it, so there the last node stays.
    """
    kept = {tensor.name for tensor in graph.outputs} if is_body else set()
    foldable = [node for node in _foldable(graph, own_file) if not any(tensor.name in kept for tensor in node.outputs)]
    if not foldable:
        return
    extras.onnxruntime()  # without it nothing would be folded, and nobody told
    inside = {id(node) for node in foldable}
    ends = {tensor.name for tensor in graph.outputs} | {
        tensor.name for node in graph.nodes if id(node) not in inside for tensor in node_reads(node)
    }
    made = [tensor for node in foldable for tensor in node.outputs]
    wanted = {tensor.name for tensor in made if tensor.name in ends and not _is_large(tensor)}
    evaluator = _Evaluator(header, folder)
    evaluator.run(leading_to(foldable, wanted), wanted)
    for tensor in made:  # with what leads to a node that does not work
        values = evaluator.found.get(tensor.name)
        if isinstance(values, np.ndarray) and values.dtype != object and values.nbytes <= _LIMIT_BYTES:
            tensor.to_constant(values)
            tensor.inputs.clear()


def _foldable(graph: gs.Graph, own_file: str) -> list[gs.Node]:
    """The nodes that constants alone lead to, in the order of the graph."""
    known: set[str] = set()
    found = []
    for node in graph.nodes:
        reads = node_reads(node)
        if node.op in RANDOM or node.op in _QUANTISATION or not node.outputs:
            continue
        if any(is_beside(tensor, own_file) for tensor in node.inputs):
            continue
        if all(isinstance(tensor, gs.Constant) or tensor.name in known for tensor in reads):
            known.update(tensor.name for tensor in node.outputs)
            found.append(node)
    return found


def _is_large(tensor: gs.Tensor) -> bool:
    """Whether a tensor is known to be too large before it is computed."""
    if tensor.dtype is None or tensor.shape is None or not all(isinstance(dim, int) for dim in tensor.shape):
        return False
    item_bytes = 1 if isinstance(tensor.dtype, int) else np.dtype(tensor.dtype).itemsize
    return int(np.prod(tensor.shape, dtype=np.int64)) * item_bytes > _LIMIT_BYTES


class _Evaluator:
    """Runs parts of a graph of constants; ``found`` holds, by name, what came out."""

    def __init__(self, header: onnx.ModelProto, folder: Path | None) -> None:
        self.found: dict[str, Any] = {}  # arrays, and lists where a sequence is made
        self._header = header
        self._folder = folder

    def run(self, nodes: Sequence[gs.Node], wanted: set[str]) -> None:
        """All at once; if that fails, one half and then the other, until the nodes that do not work stand alone."""
        if not nodes:
            return
        try:
            self._run(nodes, wanted)
        except Exception as error:  # noqa: BLE001 - the runtime raises a class for each of its own error codes
            if len(nodes) == 1:
                log.debug("cannot compute %s: %s", nodes[0].name, error)
                return
            first, second = nodes[: len(nodes) // 2], nodes[len(nodes) // 2 :]
            self.run(first, wanted | {tensor.name for node in second for tensor in node_reads(node)})
            self.run(self._possible(second), wanted)

    def _possible(self, nodes: Sequence[gs.Node]) -> list[gs.Node]:
        """Those that what was found leads to."""
        known, possible = set(self.found), []
        for node in nodes:
            if all(isinstance(tensor, gs.Constant) or tensor.name in known for tensor in node_reads(node)):
                known.update(tensor.name for tensor in node.outputs)
                possible.append(node)
        return possible

    def _run(self, nodes: Sequence[gs.Node], wanted: set[str]) -> None:
        made = [tensor.name for node in nodes for tensor in node.outputs if tensor.name]
        outputs = [name for name in made if name in wanted]
        if not outputs:
            return
        reads = {tensor.name: tensor for node in nodes for tensor in node_reads(node)}
        values = {name: self._values(tensor) for name, tensor in reads.items() if name not in set(made)}
        session = _session(self._proto(nodes, values, outputs))
        feeds = {value.name: values[value.name] for value in session.get_inputs()}
        self.found.update(zip(outputs, session.run(outputs, feeds), strict=True))

    def _values(self, tensor: gs.Tensor) -> Any:
        return read_values(tensor, self._folder) if isinstance(tensor, gs.Constant) else self.found[tensor.name]

    def _proto(self, nodes: Sequence[gs.Node], values: Mapping[str, Any], outputs: Sequence[str]) -> onnx.ModelProto:
        graph = onnx.GraphProto(name="constants")
        graph.node.extend(export_node(node, {}) for node in nodes)
        for name, value in values.items():
            if value.nbytes > _FED_BYTES and value.dtype.isbuiltin == 1:
                kind = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
                graph.input.append(onnx.helper.make_tensor_value_info(name, kind, value.shape))
            else:
                graph.initializer.append(onnx.numpy_helper.from_array(value, name))
        graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
        return onnx.ModelProto(
            ir_version=max(self._header.ir_version, 4), opset_import=self._header.opset_import, graph=graph
        )


def _session(proto: onnx.ModelProto) -> Any:
    """A session that runs the nodes as they are: each of them once, so nothing is won by optimising."""
    onnxruntime = extras.onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_mem_pattern = options.enable_cpu_mem_arena = False
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
