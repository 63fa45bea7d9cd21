"""The model in memory: an onnx-graphsurgeon graph, and what graphsurgeon would forget, kept beside it.

Weights stay where they are: bytes of a self-contained file are referenced, bytes
in an external data file are not read at all until somebody needs them. ``to_proto`` gives back every node exactly as it
came (attribute order, doc strings, metadata), unless its attributes were edited.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx

from graphprune import external
from graphprune.errors import InputError

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

_PROTO_LIMIT_BYTES = 1_900 << 20  # protobuf stops at 2 GiB; leave room for the nodes

Dim = int | str | None
Shape = tuple[Dim, ...]
"""Sizes known before running: an int, the name of a symbolic dimension, or None."""


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
    sha256 : of the file and its external data.
    files : the file and its external data files.
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

    @property
    def is_external(self) -> bool:
        """Whether any weight lies in an external data file."""
        return any(map(is_external, constants(self.graph)))

    def copy(self) -> Model:
        """An independent graph; weights are shared, for nobody writes to them in place."""
        return replace(self, graph=self.graph.copy())


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
    for subgraph in node.attrs.values():
        if not hasattr(subgraph, "nodes"):
            continue
        inside = {t.name for t in subgraph.inputs} | {t.name for n in subgraph.nodes for t in n.outputs}
        reads = [t for n in subgraph.nodes for t in node_reads(n)] + list(subgraph.outputs)
        found += [t for t in reads if t.name and t.name not in inside]
    return found


def is_external(tensor: gs.Tensor) -> bool:
    """Whether a tensor is a constant whose bytes lie in an external data file."""
    proto = getattr(getattr(tensor, "_values", None), "tensor", None)  # the TensorProto that it was imported from
    return proto is not None and external.is_external(proto)


def constant_dims(constant: gs.Constant) -> tuple[int, ...]:
    """Shape of a constant without loading its values."""
    return tuple(int(dim) for dim in constant._values.shape)


def read_values(constant: gs.Constant, folder: Path | None) -> np.ndarray:
    """The values of a constant, from its data file if need be; they are not kept in memory by the model."""
    from onnx_graphsurgeon.ir.tensor import SparseValues

    values = constant._values
    if isinstance(values, np.ndarray):
        return values
    if isinstance(values, SparseValues):
        dense: np.ndarray = values.load()
        return dense
    proto = external.read(values.tensor, folder) if folder is not None and is_external(constant) else values.tensor
    return onnx.numpy_helper.to_array(proto)


def to_proto(model: Model, outputs: list[str] | None = None, *, with_weights: bool = True) -> onnx.ModelProto:
    """Export as a ModelProto without intermediate shapes (they may be stale) and without unused initialisers.

    External weights stay references into ``model.folder``. ``outputs`` adds inner tensors to the graph's outputs. Without
    weights, large ones are references to nowhere: enough to look at the graph, and nothing is copied.
    """
    from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter
    from onnx_graphsurgeon.ir.tensor import SparseValues

    proto = onnx.ModelProto()
    proto.CopyFrom(model.header)
    proto.graph.node.extend(export_node(node, model.node_protos.get(node.name)) for node in model.graph.nodes)
    kept: set[str] = set()
    for constant in constants(model.graph):
        kept.add(constant.name)
        if isinstance(constant._values, SparseValues):
            proto.graph.sparse_initializer.append(OnnxExporter.export_sparse_tensor_proto(constant))
        elif not with_weights and constant._values.nbytes > external.INLINE_LIMIT_BYTES:
            proto.graph.initializer.append(_hollow(constant, model))
        else:
            proto.graph.initializer.append(OnnxExporter.export_tensor_proto(constant))
    _restore_initialiser_inputs(proto, kept, {tensor.name for tensor in model.graph.inputs})
    present = {value.name for value in proto.graph.output}
    for name in outputs or ():
        if name not in present:
            value = onnx.ValueInfoProto(name=name)
            value.type.tensor_type.elem_type = model.dtypes.get(name, onnx.TensorProto.FLOAT)
            proto.graph.output.append(value)
    return proto


def _hollow(constant: gs.Constant, model: Model) -> onnx.TensorProto:
    """A tensor's name, type and dims alone."""
    kind = model.dtypes.get(constant.name) or onnx.helper.np_dtype_to_tensor_dtype(np.dtype(constant.dtype))
    tensor = onnx.TensorProto(name=constant.name, data_type=kind, dims=constant_dims(constant))
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="left-out")
    return tensor


def _restore_initialiser_inputs(proto: onnx.ModelProto, kept: set[str], true_inputs: set[str]) -> None:
    """Inputs that only gave an initialiser's type live and die with it; IR version 3 demands one for each."""
    declared = [value for value in proto.graph.input if value.name in true_inputs or value.name in kept]
    names = {value.name for value in declared}
    if proto.ir_version < 4:
        for tensor in proto.graph.initializer:
            if tensor.name not in names:
                declared.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    copies = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in declared]
    del proto.graph.input[:]
    proto.graph.input.extend(copies)


def export_node(node: gs.Node, original: onnx.NodeProto | None) -> onnx.NodeProto:
    """The node as protobuf; ``original`` is what it was read from."""
    from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter

    if original is None:
        exported: onnx.NodeProto = OnnxExporter.export_node(node)
        return exported
    proto = onnx.NodeProto()
    proto.CopyFrom(original)
    proto.name = node.name
    del proto.input[:], proto.output[:]
    proto.input.extend(tensor.name for tensor in node.inputs)
    proto.output.extend(tensor.name for tensor in node.outputs)
    return proto


def write(model: Model, path: Path) -> None:
    """Write ``path``, and ``path.data`` beside it when the model came with external data or outgrew protobuf."""
    proto = to_proto(model)
    inline = sum(external.tensor_bytes(t) for t in proto.graph.initializer if not external.is_external(t))
    try:
        if model.is_external or inline > _PROTO_LIMIT_BYTES:
            data_path = path.with_name(path.name + ".data")
            with data_path.open("wb") as target:
                external.write(proto.graph.initializer, model.folder, target, data_path.name)
        with path.open("wb") as target:
            target.write(proto.SerializeToString(deterministic=True))
    except OSError as error:
        raise InputError(f"cannot write {path.name}: {error.strerror}", "free space or choose another -o") from None


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """A hidden folder beside ``path`` to write into; its files move into place only if the block ends well.

    Every rename is atomic, the data file's before the model's, so a reader sees the old model or the new one.
    """
    try:
        stage = Path(tempfile.mkdtemp(prefix=".graphprune-", dir=path.parent))
    except OSError as error:
        raise InputError(f"cannot write into {path.parent}: {error.strerror}", "choose another -o") from None
    try:
        yield stage / path.name
        for file in sorted(stage.iterdir(), key=lambda file: file.name == path.name):
            os.replace(file, path.with_name(file.name))
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def check_output(path: Path, inputs: Iterable[Path]) -> None:
    """Refuse an output path that cannot work, before any work is done.

    Raises
    ------
    InputError
        The folder is missing or read-only, the path is a folder, or it is one of the files being read.
    """
    try:
        if path.is_dir():
            raise InputError(f"the output {path} is a folder", "give -o a file name")
        if not path.parent.is_dir():
            raise InputError(f"the output folder {path.parent} does not exist", "create it first")
        if not os.access(path.parent, os.W_OK):
            raise InputError(f"the output folder {path.parent} is not writable", "choose another -o")
        exists = path.exists()
    except OSError as error:
        raise InputError(f"the output {path} cannot be used: {error.strerror}", "choose another -o") from None
    for given in inputs:
        if exists and _is_same(path, given):
            raise InputError(
                f"the output {path} is the input file itself, which is never touched", "choose another name for it"
            )


def _is_same(one: Path, other: Path) -> bool:
    """Whether both names mean one file, be it by spelling, symbolic link or hard link."""
    try:
        return one.samefile(other)
    except OSError:
        return False
