"""Read a model file into a :class:`graphprune.ir.model.Model`: check it, hash it, normalise it.
The file is never changed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from graphprune.errors import ModelError
from graphprune.ir import external_data, lean_file
from graphprune.ir.bodies import graphs_of
from graphprune.ir.export import to_proto
from graphprune.ir.foreign_files import foreign_kind
from graphprune.ir.input_origins import forget_inputs
from graphprune.ir.model import Model
from graphprune.ir.normalise import fold_sizes_again, normalise
from graphprune.ir.shape_inference import infer_again, standard_opset, without_large_weights
from graphprune.ir.sparse_weights import with_dense_weights
from graphprune.ir.validity import check_valid

MIN_OPSET = 11
_DATA_TYPES = set(onnx.TensorProto.DataType.values()) - {onnx.TensorProto.UNDEFINED}
# Attribute kinds that onnx-graphsurgeon drops on import.
_UNSUPPORTED_ATTRIBUTES = ("TENSORS", "GRAPHS", "SPARSE_TENSOR", "SPARSE_TENSORS", "TYPE_PROTO", "TYPE_PROTOS")


def load(source: str | os.PathLike[str] | onnx.ModelProto) -> Model:
    """Read, check and normalise a model (opset 11 or newer).

    Raises
    ------
    ModelError
        The file is missing, not ONNX, invalid, too old or too new, or its external data is missing or unsafe.
    """
    if not isinstance(source, str | os.PathLike | onnx.ModelProto):
        raise ModelError(f"the model is of type {type(source).__name__}", "give the path of a file, or a ModelProto")
    given = _Given(source, None, None) if isinstance(source, onnx.ModelProto) else _read(Path(source))
    given = replace(given, proto=with_dense_weights(given.proto))
    proto, path, folder = given.proto, given.path, given.folder
    _check(given)
    data_files: set[Path] = set()
    for tensor in _initialisers(proto):
        if external_data.is_external(tensor):
            if folder is None:
                raise ModelError(
                    f"initializer '{tensor.name}' is external, but the model was given as an object without a folder",
                    "pass the path of the file",
                )
            if external_data.location(tensor) != given.own_file:
                data_files.add(external_data.locate(tensor, folder).path)
            if external_data.tensor_bytes(tensor) <= external_data.INLINE_LIMIT_BYTES:
                tensor.CopyFrom(external_data.read(tensor, folder))
    if path is None:
        digest = hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest()
    else:
        digest = file_hash([path, *sorted(data_files)])
    normal = normalise(proto, folder, given.own_file)
    model = Model(
        graph=normal.graph,
        header=_header(proto),
        node_protos=normal.node_protos,
        shapes=normal.shapes,
        dtypes=normal.dtypes,
        source=source if isinstance(source, onnx.ModelProto) else Path(source),
        folder=folder if data_files or given.own_file else None,
        sha256=digest,
        files=() if path is None else (path, *sorted(data_files)),
        own_file=given.own_file,
    )
    infer_again(to_proto(model, with_weights=False), model.shapes, model.dtypes)
    while fold_sizes_again(model):
        model = replace(model)  # what was derived is stale
        infer_again(to_proto(model, with_weights=False), model.shapes, model.dtypes)
    return model


@dataclass(frozen=True)
class _Given:
    """What was read: ``folder`` is where external data lies, ``own_file`` the file in it that large weights refer to
    because they were left there.
    """

    proto: onnx.ModelProto
    path: Path | None
    folder: Path | None
    own_file: str = ""


def _initialisers(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    return (tensor for graph in graphs_of(proto.graph) for tensor in graph.initializer)


def _read(path: Path) -> _Given:
    try:
        exists = path.exists()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}", "check the path of the model") from None
    if not exists:
        raise ModelError(f"there is no file {path}", "check the path of the model")
    if not path.is_file():
        raise ModelError(f"{path} is not a file", "give the path of an .onnx file")
    if path.stat().st_size == 0:
        raise ModelError(f"{path} is empty", "export the model again")
    try:
        if lean_file.is_large(path):
            given = _read_lean(path)
            if given is not None:
                return given
        proto = onnx.load(str(path), format="protobuf", load_external_data=False)
        return _Given(proto, path, path.parent.resolve())
    except DecodeError:
        raise _not_onnx(path) from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}", "check its permissions") from None


def _not_onnx(path: Path) -> ModelError:
    kind = foreign_kind(path)
    if kind is None:
        return ModelError(f"{path} is not an ONNX file, or it is truncated", "export or copy it again")
    what, advice = kind
    return ModelError(f"{path} is not an ONNX file but {what}", advice)


def _read_lean(path: Path) -> _Given | None:
    """Without the weights; None where the file is a link out of the folder that its other weights lie in."""
    own = path.resolve()
    proto = lean_file.read(own)
    places = {external_data.location(t) for t in proto.graph.initializer if external_data.is_external(t)}
    if places - {own.name} and own.parent != path.parent.resolve():
        return None
    return _Given(proto, path, own.parent, own.name)


def _check(given: _Given) -> None:
    proto, path = given.proto, given.path
    name = str(path) if path else "the model"
    if not proto.graph.node or not proto.ir_version:
        if path is not None and foreign_kind(path) is not None:
            raise _not_onnx(path)
        raise ModelError(f"{name} holds no ONNX graph", "give an ONNX model file")
    opset = standard_opset(proto)
    newest = onnx.defs.onnx_opset_version()
    if opset is None:
        raise ModelError(f"{name} imports no ai.onnx operator set", "export it again with opset 11 or newer")
    if opset < MIN_OPSET:
        raise ModelError(
            f"{name} uses opset {opset}; graphprune reads {MIN_OPSET} and newer",
            "convert it with onnx.version_converter or export it again",
        )
    if opset > newest:
        raise ModelError(f"{name} uses opset {opset}; the installed onnx knows up to {newest}", "pip install -U onnx")
    kinds = {onnx.AttributeProto.AttributeType.Value(kind) for kind in _UNSUPPORTED_ATTRIBUTES}
    for node in proto.graph.node:
        for attribute in node.attribute:
            if attribute.type in kinds:
                kind = onnx.AttributeProto.AttributeType.Name(attribute.type)
                raise ModelError(
                    f"{name}: attribute '{attribute.name}' of node '{node.name}' ({node.op_type}) is of kind {kind}, "
                    "which the graph library cannot carry",
                    "export the model without it",
                )
    for tensor in _initialisers(proto):
        if tensor.data_type not in _DATA_TYPES:
            raise ModelError(
                f"{name}: initializer '{tensor.name}' is of the unknown data type {tensor.data_type}",
                "pip install -U onnx, or export the model again",
            )
    _check_inputs(proto, name)
    if given.folder is not None:  # before the checker, for its message about data files is obscure
        for tensor in _initialisers(proto):
            if external_data.is_external(tensor):
                external_data.locate(tensor, given.folder)
    try:
        check_valid(proto, None if given.own_file else path)
        onnx.shape_inference.infer_shapes(without_large_weights(proto), check_type=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise ModelError(f"{name} is not valid ONNX: {reason}", "export the model again") from None


def _check_inputs(proto: onnx.ModelProto, name: str) -> None:
    """Every true input is a tensor of known rank."""
    weights = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in weights]
    if not inputs:
        raise ModelError(f"{name} has no input", "give a model that computes something from data")
    for value in inputs:
        kind = value.type.WhichOneof("value")
        if kind != "tensor_type":
            what = (kind or "nothing known").removesuffix("_type")
            raise ModelError(f"{name}: input '{value.name}' is a {what}, not a tensor", "export it with tensor inputs")
        if not value.type.tensor_type.HasField("shape"):
            raise ModelError(
                f"{name}: input '{value.name}' has no shape", "declare its axes, free ones by name, and save it again"
            )


def _header(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Everything but nodes, weights and functions, without copying the weights on the way."""
    header = onnx.ModelProto()
    for message, skip in (
        (proto, {"graph", "functions"}),
        (proto.graph, {"node", "initializer"}),
    ):
        target: Any = header if message is proto else header.graph
        for field, value in message.ListFields():
            if field.name in skip or field.name == "value_info":
                continue
            if field.is_repeated:
                getattr(target, field.name).extend(value)
            else:
                setattr(target, field.name, value)
    known = {opset.domain for opset in header.opset_import}
    for opset in (opset for function in proto.functions for opset in function.opset_import):
        if opset.domain not in known:  # needed only inside a function, which is inlined now
            known.add(opset.domain)
            header.opset_import.append(opset)
    forget_inputs(header)  # of an earlier run: the file at hand is the one that samples are for
    return header


def file_hash(paths: Sequence[Path]) -> str:
    """The sha256 of the files' bytes, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(16 << 20):
                digest.update(block)
    return digest.hexdigest()
