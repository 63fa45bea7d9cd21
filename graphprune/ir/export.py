"""The model as protobuf, and as a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx

from graphprune.errors import InputError
from graphprune.ir import external_data

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs
from graphprune.ir.model import Model, constant_dims, constants

_PROTO_LIMIT_BYTES = 1_900 << 20  # protobuf stops at 2 GiB; leave room for the nodes


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
        elif not with_weights and constant._values.nbytes > external_data.INLINE_LIMIT_BYTES:
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
    inline = sum(external_data.tensor_bytes(t) for t in proto.graph.initializer if not external_data.is_external(t))
    try:
        if model.is_external or inline > _PROTO_LIMIT_BYTES:
            data_path = path.with_name(path.name + ".data")
            with data_path.open("wb") as target:
                external_data.write(proto.graph.initializer, model.folder, target, data_path.name)
        with path.open("wb") as target:
            target.write(proto.SerializeToString(deterministic=True))
    except OSError as error:
        raise InputError(f"cannot write {path.name}: {error.strerror}", "free space or choose another -o") from None
