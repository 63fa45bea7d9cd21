"""Whether a model is valid ONNX, as far as its runtimes care.

ONNX Runtime runs files that the ONNX checker refuses: operators that it alone has in the default domain,
plugins of other runtimes, GroupNormalization as opset 18 had it, outputs without a shape.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import onnx

from graphprune.ir import external_data
from graphprune.ir.shape_inference import STANDARD_DOMAINS, standard_opset, without_large_weights

_ELSEWHERE = "graphprune.elsewhere"
_REVOKED = ("GroupNormalization",)  # deprecated in opset 18, three opsets before its successor came


def check_valid(proto: onnx.ModelProto, path: Path | None) -> None:
    """Refuse what is no valid model; ``path`` is the file that it was read from, None where weights may be elsewhere.

    Raises
    ------
    onnx.checker.ValidationError
        Something is wrong that is none of the above.
    """
    foreign, shapeless = _foreign(proto), _shapeless(proto)
    left_out = path is None and any(map(external_data.is_external, proto.graph.initializer))
    if not foreign and not shapeless and not left_out:
        onnx.checker.check_model(str(path) if path else proto)
        return
    usual = without_large_weights(proto)
    usual.functions.extend(proto.functions)
    usual.opset_import.add(domain=_ELSEWHERE, version=1)
    for index in foreign:
        usual.graph.node[index].domain = _ELSEWHERE
    for index in shapeless:
        usual.graph.output[index].type.tensor_type.shape.SetInParent()
    _weights_to_inputs(usual.graph)
    onnx.checker.check_model(usual)


def is_plain(proto: onnx.ModelProto) -> bool:
    """Whether the ONNX checker can judge a model as it is."""
    return not _foreign(proto) and not _shapeless(proto)


def _foreign(proto: onnx.ModelProto) -> list[int]:
    """Indices of the nodes that the checker would refuse for their operator."""
    opset = standard_opset(proto) or 1
    return [index for index, node in enumerate(proto.graph.node) if _is_foreign(node.domain, node.op_type, opset)]


def _shapeless(proto: onnx.ModelProto) -> list[int]:
    """Indices of the outputs without a shape."""
    kinds = [value.type for value in proto.graph.output]
    return [
        index
        for index, kind in enumerate(kinds)
        if kind.HasField("tensor_type") and not kind.tensor_type.HasField("shape")
    ]


@cache
def _is_foreign(domain: str, op: str, opset: int) -> bool:
    """Whether an operator of the default domain is none of ONNX's own, or one that it took back."""
    if domain not in STANDARD_DOMAINS:
        return False
    try:
        return bool(onnx.defs.get_schema(op, opset, "").deprecated) and op in _REVOKED
    except onnx.defs.SchemaError:
        return not onnx.defs.has(op)


def _weights_to_inputs(graph: onnx.GraphProto) -> None:
    """The checker would look for the bytes that were left out."""
    kept = [tensor for tensor in graph.initializer if tensor.data_location != onnx.TensorProto.EXTERNAL]
    declared = {value.name for value in graph.input}
    for tensor in graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL and tensor.name not in declared:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    del graph.initializer[:]
    graph.initializer.extend(kept)
