"""Shapes of ONNX Runtime's fused operators, of which ONNX's own inference knows nothing."""

from __future__ import annotations

import logging

import numpy as np
import onnx

from graphprune.ir.quantised import ROUNDING

log = logging.getLogger(__name__)

ConcreteShape = tuple[int, ...]
_LIKE_FIRST_INPUT = ("Gelu", "FastGelu", "QuickGelu", "BiasGelu", "RotaryEmbedding", *ROUNDING)
_NORMS = ("SkipLayerNormalization", "SkipSimplifiedLayerNormalization")
_PLAIN = {"FusedConv": "Conv", "FusedMatMul": "MatMul"}


def fused_shapes(proto: onnx.NodeProto, inputs: list[ConcreteShape | None], opset: int) -> list[ConcreteShape | None]:
    """Shapes of the outputs of a com.microsoft node, the first ones, None for those not known."""
    op, given = proto.op_type, {attribute.name: attribute for attribute in proto.attribute}
    first = inputs[0] if inputs else None
    if first is None:
        return []
    if op in _LIKE_FIRST_INPUT:
        return [first]
    if op in _NORMS:
        return [first, None, None, first]
    if op == "EmbedLayerNormalization" and len(inputs) > 2 and inputs[2] is not None:
        embedded = (*first, inputs[2][1])
        return [embedded, first[:1], embedded]
    if op in _PLAIN and len(inputs) > 1 and inputs[1] is not None:
        swapped = [
            _swapped(shape) if f"trans{name}" in given and given[f"trans{name}"].i else shape
            for name, shape in zip("AB", (first, inputs[1]), strict=True)
        ]
        return [_infer_plain(proto, swapped, opset)]
    if op == "Attention" and len(inputs) > 1 and inputs[1] is not None:
        parts = list(given["qkv_hidden_sizes"].ints) if "qkv_hidden_sizes" in given else [inputs[1][1] // 3]
        return [(*first[:-1], parts[-1])]
    if op in ("MultiHeadAttention", "GroupQueryAttention"):
        return _attended(op, first, inputs, given)
    return []


def _attended(
    op: str, query: ConcreteShape, inputs: list[ConcreteShape | None], given: dict[str, onnx.AttributeProto]
) -> list[ConcreteShape | None]:
    """As wide as the values of all heads; keys and values handed on are as long as the past and the present."""
    key, value = (*inputs, None, None)[1:3]
    if op == "GroupQueryAttention" and key is None and len(query) == 3:  # queries, keys and values in one
        depth = query[2] // (given["num_heads"].i + 2 * given["kv_num_heads"].i)
        key = value = (*query[:2], given["kv_num_heads"].i * depth)
    if key is None or value is None or {len(query), len(key), len(value)} != {3}:
        return []
    heads = given["num_heads"].i
    kv = given["kv_num_heads"].i if op == "GroupQueryAttention" else heads
    past = inputs[3] if op == "GroupQueryAttention" and len(inputs) > 3 else None
    length = key[1] + (past[2] if past else 0)
    presents: list[ConcreteShape | None] = [(query[0], kv, length, axes[2] // kv) for axes in (key, value)]
    return [(*query[:2], value[2] // kv * heads), *presents]


def _swapped(shape: ConcreteShape) -> ConcreteShape:
    return (*shape[:-2], shape[-1], shape[-2])


def _infer_plain(proto: onnx.NodeProto, inputs: list[ConcreteShape], opset: int) -> ConcreteShape | None:
    """ONNX's inference for the operator that was fused with others."""
    names = list(proto.input)[: len(inputs)]
    schema = onnx.defs.get_schema(_PLAIN[proto.op_type], opset, "")
    plain = onnx.helper.make_node(schema.name, names, list(proto.output)[:1])
    plain.attribute.extend(attribute for attribute in proto.attribute if attribute.name in schema.attributes)
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(np.float32))
    types = {name: onnx.helper.make_tensor_type_proto(kind, shape) for name, shape in zip(names, inputs, strict=True)}
    try:
        (found,) = onnx.shape_inference.infer_node_outputs(schema, plain, types).values()
    except Exception as error:  # noqa: BLE001 - the binding raises several unrelated classes
        log.debug("no shape for %s: %s", proto.name, error)
        return None
    dims = found.tensor_type.shape.dim
    return tuple(int(dim.dim_value) for dim in dims) if all(dim.HasField("dim_value") for dim in dims) else None
