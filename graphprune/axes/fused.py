"""Shapes of ONNX Runtime's fused operators, of which ONNX's own inference knows nothing."""

from __future__ import annotations

import logging

import numpy as np
import onnx

from graphprune.ir.quantised import ROUNDING

log = logging.getLogger(__name__)

ConcreteShape = tuple[int, ...]
_LIKE_FIRST_INPUT = ("Gelu", "FastGelu", "QuickGelu", "BiasGelu", "RotaryEmbedding", "MoE", "QMoE", *ROUNDING)
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
        heads, past = given["num_heads"].i, inputs[4] if len(inputs) > 4 else None
        present = (2, first[0], heads, first[1] + (past[3] if past else 0), parts[0] // heads)
        return [(*first[:-1], parts[-1]), present]
    if op == "MatMulNBits":
        return [(*first[:-1], given["N"].i)]
    if op == "MultiHeadAttention":
        return _multi_head(first, inputs, given["num_heads"].i)
    if op == "GroupQueryAttention":
        return _group_query(first, inputs, given["num_heads"].i, given["kv_num_heads"].i)
    return []


def _multi_head(query: ConcreteShape, inputs: list[ConcreteShape | None], heads: int) -> list[ConcreteShape | None]:
    """As wide as the values of all heads; keys and values handed on are as long as the past and the present."""
    key, value = (*inputs, None, None)[1:3]
    length, depth = query[1], query[-1] if len(query) == 5 else query[2] // heads
    depth_v = depth
    if key is not None:
        length = key[2] if len(key) == 4 else key[1]
    if value is not None:
        depth_v = value[3] if len(value) == 4 else value[2] // heads
    return _attended(query, heads, heads, depth, depth_v, length, inputs[6] if len(inputs) > 6 else None)


def _group_query(
    query: ConcreteShape, inputs: list[ConcreteShape | None], heads: int, groups: int
) -> list[ConcreteShape | None]:
    """The same, for queries that share keys and values; all three may be packed in the first input."""
    key, value = (*inputs, None, None)[1:3]
    depth = query[2] // heads if key is not None else query[2] // (heads + 2 * groups)
    depth_v, length = value[2] // groups if value is not None else depth, key[1] if key is not None else query[1]
    return _attended(query, heads, groups, depth, depth_v, length, inputs[3] if len(inputs) > 3 else None)


def _attended(
    query: ConcreteShape, heads: int, groups: int, depth: int, depth_v: int, length: int, past: ConcreteShape | None
) -> list[ConcreteShape | None]:
    total = length + (past[2] if past else 0)
    presents: list[ConcreteShape | None] = [(query[0], groups, total, each) for each in (depth, depth_v)]
    return [(*query[:2], depth_v * heads), *presents]


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
