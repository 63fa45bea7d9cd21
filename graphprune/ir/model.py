"""The model in memory: an onnx-graphsurgeon graph, and what graphsurgeon would forget, kept beside it.

Weights stay where they are: bytes of a self-contained file are referenced, bytes
in an external data file are not read at all until somebody needs them. ``to_proto`` gives back every node exactly as it
came (attribute order, doc strings, metadata), unless its attributes were edited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import onnx

from graphprune.ir import external_data
from graphprune.ir.bodies import bodies, scopes
from graphprune.ir.stays import NOTHING_STAYS, Stays

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

Dim = int | str | None
Shape = tuple[Dim, ...]
"""Sizes known before running: an int, the name of a symbolic dimension, or None."""

T = TypeVar("T")


@dataclass
class Model:
    """A normalised model.

    Attributes
    ----------
    graph : the nodes and tensors; node names are unique and never empty.
    header : the ModelProto without nodes and weights: versions, metadata, doc strings, inputs and outputs.
    node_protos : node name -> the NodeProto it was read from.
    shapes : tensor name -> symbolic shape, as far as shape inference knows it.
    dtypes : tensor name -> TensorProto.DataType number.
    source : the file or proto this model was loaded from.
    folder : where external data lies; None for a proto without external data.
    own_file : name of the model's file in ``folder``, where large weights are references into that; else empty.
    sha256 : of the file and its external data.
    files : the file and its external data files.
    stays : what the user wants to stay of it, whatever a pass finds.
    """

    graph: gs.Graph
    header: onnx.ModelProto
    node_protos: dict[str, onnx.NodeProto]
    shapes: dict[str, Shape]
    dtypes: dict[str, int]
    source: Path | onnx.ModelProto
    folder: Path | None
    sha256: str
    files: tuple[Path, ...] = ()
    own_file: str = ""
    stays: Stays = NOTHING_STAYS
    _derived: dict[Callable[[Model], Any], Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def derived(self, make: Callable[[Model], T]) -> T:
        """What ``make`` finds in this model, found once.

        It must not depend on the values of weights: only these may change in a model that is in use.
        Whatever else changes makes a new model, which starts with nothing derived.
        """
        if make not in self._derived:
            self._derived[make] = make(self)
        found: T = self._derived[make]
        return found

    @property
    def is_external(self) -> bool:
        """Whether any weight lies in a data file beside the model's own."""
        return any(is_beside(constant, self.own_file) for constant in constants(self.graph))

    def copy(self) -> Model:
        """An independent graph; weights are shared, for nobody writes to them in place."""
        import onnx_graphsurgeon as gs

        graph = self.graph.copy()
        known: dict[str, gs.Constant] = {}
        for scope in scopes(graph):  # the library copies a constant anew for each body
            for node in scope.nodes:
                for index, tensor in enumerate(node.inputs):
                    if isinstance(tensor, gs.Constant) and known.setdefault(tensor.name, tensor) is not tensor:
                        node.inputs[index] = known[tensor.name]
        return replace(self, graph=graph)


def constants(graph: gs.Graph) -> Iterator[gs.Constant]:
    """Every constant the graph's nodes, their subgraphs or its outputs read, once each, in order of first use."""
    import onnx_graphsurgeon as gs

    seen: set[str] = set()
    reads = [tensor for node in graph.nodes for tensor in node_reads(node)]
    for tensor in (*reads, *graph.outputs):
        if isinstance(tensor, gs.Constant) and tensor.name not in seen:
            seen.add(tensor.name)
            yield tensor


def node_reads(node: gs.Node) -> list[gs.Tensor]:
    """The tensors a node reads, with those its subgraphs (If, Loop, Scan) take from outside."""
    return [tensor for tensor in node.inputs if tensor.name] + outer_reads(node)


def outer_reads(node: gs.Node) -> list[gs.Tensor]:
    """The tensors that a node's subgraphs take from the graph around them."""
    found: list[gs.Tensor] = []
    for subgraph in bodies(node):
        inside = {t.name for t in subgraph.inputs} | {t.name for n in subgraph.nodes for t in n.outputs}
        reads = [t for n in subgraph.nodes for t in node_reads(n)] + list(subgraph.outputs)
        found += [t for t in reads if t.name and t.name not in inside]
    return found


def leading_to(nodes: Sequence[gs.Node], wanted: Iterable[str]) -> list[gs.Node]:
    """Those of ``nodes``, which are in order, that make the tensors ``wanted`` or what these need."""
    needed, found = set(wanted), []
    for node in reversed(nodes):
        if any(tensor.name in needed for tensor in node.outputs):
            needed.update(tensor.name for tensor in node_reads(node))
            found.append(node)
    return found[::-1]


def is_external(tensor: gs.Tensor) -> bool:
    """Whether a tensor is a constant whose bytes are not in memory."""
    proto = _imported(tensor)
    return proto is not None and external_data.is_external(proto)


def is_beside(tensor: gs.Tensor, own_file: str) -> bool:
    """Whether a tensor is a constant whose bytes lie in another file than the model, which is named ``own_file``."""
    proto = _imported(tensor)
    return proto is not None and external_data.is_external(proto) and external_data.location(proto) != own_file


def _imported(tensor: gs.Tensor) -> onnx.TensorProto | None:
    """The TensorProto that a constant was imported from."""
    from graphprune.ir.cut_values import CutValues

    values = getattr(tensor, "_values", None)
    return None if isinstance(values, CutValues) else getattr(values, "tensor", None)


def constant_dims(constant: gs.Constant) -> tuple[int, ...]:
    """Shape of a constant without loading its values."""
    return tuple(int(dim) for dim in constant._values.shape)


def read_values(constant: gs.Constant, folder: Path | None) -> np.ndarray:
    """The values of a constant, from its data file if need be; they are not kept in memory by the model."""
    from graphprune.ir.cut_values import CutValues

    values = constant._values
    if isinstance(values, np.ndarray):
        return values
    if isinstance(values, CutValues):
        dense: np.ndarray = values.load()
        return dense
    proto = external_data.read(values.tensor, folder) if folder is not None and is_external(constant) else values.tensor
    return onnx.numpy_helper.to_array(proto)
