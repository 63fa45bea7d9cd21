"""Shapes of standard operators that ONNX's inference for one node does not give: function operators,
and counts that only data can tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx

ConcreteShape = tuple[int, ...]
_COUNTING = ("Compress", "NonMaxSuppression", "NonZero", "Unique")


def node_types(
    node: onnx.NodeProto,
    types: Mapping[str, onnx.TypeProto],
    data: Mapping[str, onnx.TensorProto],
    opsets: Mapping[str, int],
) -> dict[str, onnx.TypeProto]:
    """Types of the outputs of a standard ``node``, as far as ONNX knows them from its inputs ``types``
    and what some of them hold.

    Raises
    ------
    Exception
        The binding raises several unrelated classes.
    """
    schema = onnx.defs.get_schema(node.op_type, opsets.get("", 1), "")
    imports = [onnx.helper.make_opsetid(*entry) for entry in opsets.items()]
    has_body = schema.has_function  # type: ignore[attr-defined]  # the stub has forgotten it
    if has_body and not schema.has_type_and_shape_inference_function:
        return _by_function_body(node, types, imports)
    found = onnx.shape_inference.infer_node_outputs(schema, node, dict(types), dict(data), opset_imports=imports)
    return dict(found)


def _by_function_body(
    node: onnx.NodeProto, types: Mapping[str, onnx.TypeProto], imports: list[onnx.OperatorSetIdProto]
) -> dict[str, onnx.TypeProto]:
    """The binding for one node does not look into its body; that for models does."""
    graph = onnx.GraphProto(name=node.name, node=[node])
    graph.input.extend(onnx.ValueInfoProto(name=name, type=kind) for name, kind in types.items())
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in node.output if name)
    alone = onnx.ModelProto(ir_version=8, graph=graph, opset_import=imports)
    inferred = onnx.shape_inference.infer_shapes(alone)
    return {value.name: value.type for value in inferred.graph.output}


def counted(op: str, dims: list[int | None], primes: Iterator[int] | None) -> list[int | None]:
    """A count that only data can tell is a prime of its own: nobody will take it for another size."""
    if op not in _COUNTING or primes is None:
        return dims
    return [next(primes) if dim is None else dim for dim in dims]
