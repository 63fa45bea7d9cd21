"""Shapes and dtypes of all tensors, as far as ONNX shape inference knows them."""

from __future__ import annotations

import logging
from collections import Counter
from itertools import chain
from math import prod

import onnx

from graphprune.ir import external_data
from graphprune.ir.bodies import graphs_of
from graphprune.ir.model import Shape

log = logging.getLogger(__name__)

STANDARD_DOMAINS = (None, "", "ai.onnx")  # None: of a node that was made here
LIKE_FIRST_INPUT = frozenset(("GroupNormalization", "MeanVarianceNormalization", "SimplifiedLayerNormalization"))
"""Operators of the default domain whose first output is like the first input, which ONNX's inference does not know."""


def standard_opset(proto: onnx.ModelProto) -> int | None:
    """The version of ONNX's own operators that the model is written in; None where it imports none."""
    return max((entry.version for entry in proto.opset_import if entry.domain in STANDARD_DOMAINS), default=None)


def infer_shapes(
    proto: onnx.ModelProto,
    input_shapes: dict[str, tuple[int, ...]] | None = None,
    known: dict[str, onnx.ValueInfoProto] | None = None,
) -> tuple[dict[str, Shape], dict[str, int]]:
    """Shape and dtype of every tensor as far as ONNX shape inference knows them.

    ``input_shapes`` fixes the shapes of graph inputs and forgets what the file says about inner tensors; ``known`` adds
    to what it says.
    """
    skeleton = without_large_weights(proto)
    skeleton.graph.value_info.extend((known or {}).values())
    if input_shapes is not None:
        del skeleton.graph.value_info[:]
        for value in (*skeleton.graph.input, *skeleton.graph.output):
            if value.name in input_shapes:
                dims = value.type.tensor_type.shape.dim
                for dim, size in zip(dims, input_shapes[value.name], strict=True):
                    dim.dim_value = size
            elif value in skeleton.graph.output:
                value.type.tensor_type.ClearField("shape")
    for node in skeleton.graph.node:
        if node.op_type in LIKE_FIRST_INPUT and node.domain in STANDARD_DOMAINS:
            copy = onnx.helper.make_node("Identity", node.input[:1], node.output[:1], node.name)
            node.CopyFrom(copy)
    try:
        inferred = onnx.shape_inference.infer_shapes(skeleton, data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError) as error:
        log.info("shape inference stopped: %s", str(error).splitlines()[0])
        inferred = skeleton
    shapes: dict[str, Shape] = {}
    dtypes: dict[str, int] = {}
    values = ((*graph.input, *graph.value_info, *graph.output) for graph in graphs_of(inferred.graph))
    for value in chain.from_iterable(values):
        tensor_type = value.type.tensor_type
        if tensor_type.elem_type:
            dtypes[value.name] = tensor_type.elem_type
        if tensor_type.HasField("shape"):
            shapes[value.name] = tuple(_dim(dim) for dim in tensor_type.shape.dim)
    for tensor in proto.graph.initializer:
        shapes[tensor.name] = tuple(tensor.dims)
        dtypes[tensor.name] = tensor.data_type
    return shapes, dtypes


def infer_again(proto: onnx.ModelProto, shapes: dict[str, Shape], dtypes: dict[str, int]) -> None:
    """Complete ``shapes`` and ``dtypes`` of a folded model: folding turned computed sizes into constants.

    What was known before the fold stays, apart from dimensions that the first inference had to invent names for.
    """
    made = {name for node in proto.graph.node for name in node.output}
    inner = made - {value.name for value in proto.graph.output}
    known = {
        name: onnx.helper.make_tensor_value_info(name, dtypes[name], shape)
        for name, shape in shapes.items()
        if name in inner and name in dtypes and not any(is_invented(dim) for dim in shape)
    }
    found_shapes, found_dtypes = infer_shapes(proto, known=known)
    for name, shape in found_shapes.items():
        if name not in shapes or any(is_invented(dim) for dim in shapes[name]):
            shapes[name] = shape
    _resolve_reshapes(proto, shapes)
    for name in found_dtypes.keys() - made:  # in bodies, where tensors have got names of their own
        dtypes.setdefault(name, found_dtypes[name])


def _resolve_reshapes(proto: onnx.ModelProto, shapes: dict[str, Shape]) -> None:
    """The one open size of a Reshape follows from the others where their names cancel, as in
    ``[N, S, 32]`` to ``[N, S, 4, -1]``; ONNX's inference only works it out of numbers.
    """
    for node in proto.graph.node:
        read, written = shapes.get(node.input[0]) if node.op_type == "Reshape" else None, shapes.get(node.output[0])
        if read is None or written is None or any(map(is_invented, read)) or sum(map(is_invented, written)) != 1:
            continue
        known = [dim for dim in written if not is_invented(dim)]
        if Counter(dim for dim in read if isinstance(dim, str)) != Counter(
            dim for dim in known if isinstance(dim, str)
        ):
            continue
        whole, part = (prod(dim for dim in dims if isinstance(dim, int)) for dims in (read, known))
        if part and whole % part == 0:
            shapes[node.output[0]] = tuple(whole // part if is_invented(dim) else dim for dim in written)


def is_invented(dim: int | str | None) -> bool:
    """Whether ONNX's inference knows nothing of a dimension, whatever it called it."""
    return dim is None or (isinstance(dim, str) and dim.startswith("unk__"))


def _dim(dim: onnx.TensorShapeProto.Dimension) -> int | str | None:
    if dim.HasField("dim_value") and dim.dim_value >= 0:  # -1 is how some exporters write a free size
        return int(dim.dim_value)
    return dim.dim_param or None


def without_large_weights(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with the bytes of large weights left out; shape inference reads only their dims."""
    skeleton = onnx.ModelProto(ir_version=proto.ir_version)
    skeleton.opset_import.extend(proto.opset_import)
    skeleton.graph.name = proto.graph.name
    for field in ("node", "input", "output", "value_info"):
        getattr(skeleton.graph, field).extend(getattr(proto.graph, field))
    for tensor in proto.graph.initializer:
        if (
            tensor.data_type == onnx.TensorProto.STRING
            or external_data.tensor_bytes(tensor) <= external_data.INLINE_LIMIT_BYTES
        ):
            skeleton.graph.initializer.append(tensor)
        else:
            hollow = skeleton.graph.initializer.add(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
            hollow.data_location = onnx.TensorProto.EXTERNAL
            hollow.external_data.add(key="location", value="left-out")
    return skeleton
