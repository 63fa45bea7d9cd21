"""The model as protobuf, and as a file."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx

from graphprune.errors import InputError
from graphprune.ir import external_data, lean_file
from graphprune.ir.bodies import bodies
from graphprune.ir.model import Model, constant_dims, constants

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

_PROTO_LIMIT_BYTES = 1_900 << 20  # protobuf stops at 2 GiB; leave room for the nodes


def to_proto(model: Model, outputs: Sequence[str] | None = None, *, with_weights: bool = True) -> onnx.ModelProto:
    """Export as a ModelProto without intermediate shapes (they may be stale) and without unused initialisers.

    External weights stay references into ``model.folder``. ``outputs`` adds inner tensors to the graph's outputs.
    Without weights, large ones are references to nowhere: enough to look at the graph, and nothing is copied.
    """
    proto = _assembled(model, model.graph, with_weights=with_weights)
    kept = {constant.name for constant in constants(model.graph)}
    _restore_initialiser_inputs(proto, kept, {tensor.name for tensor in model.graph.inputs})
    present = {value.name for value in proto.graph.output}
    for name in outputs or ():
        if name not in present:
            value = onnx.ValueInfoProto(name=name)
            value.type.tensor_type.elem_type = model.dtypes.get(name, onnx.TensorProto.FLOAT)
            proto.graph.output.append(value)
    return proto


def extract(model: Model, nodes: Collection[str], reads: Sequence[str], writes: Sequence[str]) -> onnx.ModelProto:
    """A model of some nodes alone: inputs ``reads``, outputs ``writes``."""
    import onnx_graphsurgeon as gs

    members = set(nodes)
    inside = gs.Graph(nodes=[node for node in model.graph.nodes if node.name in members])
    proto = _assembled(model, inside, with_weights=True)
    for values, names in ((proto.graph.input, reads), (proto.graph.output, writes)):
        del values[:]
        for name in names:
            dtype = model.dtypes.get(name, onnx.TensorProto.FLOAT)
            values.append(onnx.helper.make_tensor_value_info(name, dtype, model.shapes.get(name)))
    return proto


def exported_bytes(model: Model) -> int:
    """Size of :func:`to_proto` in bytes, with what lies in external files; no weight is copied."""
    hollow = to_proto(model, with_weights=False)
    graph_bytes, outside_bytes = hollow.graph.ByteSize(), 0
    known = {constant.name: constant for constant in constants(model.graph)}
    for left_out in hollow.graph.initializer:
        tensor = _tensor_proto(known[left_out.name])
        graph_bytes += _field_bytes(tensor.ByteSize()) - _field_bytes(left_out.ByteSize())
        outside_bytes += external_data.tensor_bytes(tensor) if external_data.is_external(tensor) else 0
    header_bytes: int = hollow.ByteSize() - _field_bytes(hollow.graph.ByteSize())
    return header_bytes + _field_bytes(graph_bytes) + outside_bytes


def _field_bytes(length: int) -> int:
    """Of a message of that length inside another: a tag (field numbers below 16 take a byte), the length,
    the content.
    """
    return 1 + max(1, -(-length.bit_length() // 7)) + length


def _assembled(model: Model, graph: gs.Graph, *, with_weights: bool) -> onnx.ModelProto:
    """The header of ``model`` with the nodes of ``graph``, which are some of its own,
    and the constants that they read.
    """

    proto = onnx.ModelProto()
    proto.CopyFrom(model.header)
    exported = model.derived(_converted_nodes)
    for node in graph.nodes:
        if node.name not in exported:
            exported[node.name] = export_node(node, model.node_protos)
    proto.graph.node.extend(exported[node.name] for node in graph.nodes)
    for constant in constants(graph):
        if not with_weights and constant._values.nbytes > external_data.INLINE_LIMIT_BYTES and not _is_text(constant):
            proto.graph.initializer.append(_hollow(constant, model))
        else:
            proto.graph.initializer.append(_tensor_proto(constant))
    return proto


def _tensor_proto(constant: gs.Constant) -> onnx.TensorProto:
    from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter

    if _is_text(constant):  # which the library would write as if it were numbers
        return onnx.numpy_helper.from_array(np.asarray(constant.values, object), constant.name)
    exported: onnx.TensorProto = OnnxExporter.export_tensor_proto(constant)
    return exported


def _is_text(constant: gs.Constant) -> bool:
    return not isinstance(constant.dtype, int) and np.dtype(constant.dtype).kind in "OSU"


def _converted_nodes(model: Model) -> dict[str, onnx.NodeProto]:
    """Those converted so far, by name: none, at first."""
    return {}


def _hollow(constant: gs.Constant, model: Model) -> onnx.TensorProto:
    """A tensor's name, type and dims alone."""
    kind = model.dtypes.get(constant.name) or constant.dtype
    if not isinstance(kind, int):  # graphsurgeon keeps types that NumPy lacks as ONNX numbers
        kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind))
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


def export_node(node: gs.Node, originals: Mapping[str, onnx.NodeProto]) -> onnx.NodeProto:
    """The node as protobuf, its bodies as they are now; ``originals`` are what nodes were read from, by name."""
    from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter

    original = originals.get(node.name)
    if original is None:
        exported: onnx.NodeProto = OnnxExporter.export_node(node)
        return exported
    proto = onnx.NodeProto()
    proto.CopyFrom(_with_new_bodies(node, original, originals) if bodies(node) else original)
    proto.name = node.name
    del proto.input[:], proto.output[:]
    proto.input.extend(tensor.name for tensor in node.inputs)
    proto.output.extend(tensor.name for tensor in node.outputs)
    return proto


def _with_new_bodies(
    node: gs.Node, original: onnx.NodeProto, originals: Mapping[str, onnx.NodeProto]
) -> onnx.NodeProto:
    """A copy of ``original``, with the weights of its bodies left behind."""
    proto = onnx.NodeProto()
    for field, value in original.ListFields():
        if field.name == "attribute":
            for attribute in value:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    body = _body(node.attrs[attribute.name], attribute.g, originals)
                    proto.attribute.append(onnx.helper.make_attribute(attribute.name, body))
                else:
                    proto.attribute.append(attribute)
        elif field.is_repeated:
            getattr(proto, field.name).extend(value)
        else:
            setattr(proto, field.name, value)
    return proto


def _body(body: gs.Graph, original: onnx.GraphProto, originals: Mapping[str, onnx.NodeProto]) -> onnx.GraphProto:
    """A graph without weights and without inner shapes, which may be stale."""
    proto = onnx.GraphProto(name=original.name, doc_string=original.doc_string)
    proto.node.extend(export_node(node, originals) for node in body.nodes)
    for tensors, old, new in (
        (body.inputs, original.input, proto.input),
        (body.outputs, original.output, proto.output),
    ):
        for tensor, value in zip(tensors, old, strict=True):
            new.add().CopyFrom(value)
            new[-1].name = tensor.name
    return proto


def write(model: Model, path: Path) -> None:
    """Write ``path``, and ``path.data`` beside it when the model came with external data or outgrew protobuf."""
    proto = to_proto(model)
    own = [tensor for tensor in proto.graph.initializer if external_data.location(tensor) == model.own_file != ""]
    inline = sum(external_data.tensor_bytes(t) for t in proto.graph.initializer if not external_data.is_external(t))
    inline += sum(map(external_data.tensor_bytes, own))
    try:
        if model.is_external or inline > _PROTO_LIMIT_BYTES:
            data_path = path.with_name(path.name + ".data")
            with data_path.open("wb") as target:
                external_data.write(proto.graph.initializer, model.folder, target, data_path.name)
            own = []
        with path.open("wb") as target:
            if own and model.folder is not None:
                lean_file.write(proto, model.folder, target)
            else:
                target.write(proto.SerializeToString(deterministic=True))
    except OSError as error:
        raise InputError(f"cannot write {path.name}: {error.strerror}", "free space or choose another -o") from None
