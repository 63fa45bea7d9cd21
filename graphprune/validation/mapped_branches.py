"""The oracle's side of linear maps: in the original the branch is multiplied by zero and ``x A + b`` added.

Written with Transpose and MatMul for any layout, from the map's numbers and not from the rewritten graph; the branch
itself still runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from graphprune.ir.free_names import free_name
from graphprune.rewrite.linear_map import LinearMap

Mute = Callable[[onnx.GraphProto, str, str, str], None]
"""Add a node to a graph that makes the second tensor of the first, all zeros, of the type of the third."""


def put_maps(
    proto: onnx.ModelProto,
    maps: Sequence[LinearMap],
    taken: set[str],
    mute: Mute,
    rounding: Callable[[int, int], NDArray[np.float64]] | None,
) -> None:
    """Silence the branch of each map and add what the map adds.

    ``rounding`` gives factors, for a number of inputs and a type, that move a sum as its rounding may.
    """
    graph = proto.graph
    nodes = {node.name: node for node in graph.node}
    for map_ in maps:
        added = _added(proto, map_, taken, rounding)
        for index, (reader, operand) in enumerate(map_.block.branches):
            branch = nodes[reader].input[operand]
            silent = free_name(f"{branch}/silent", taken)
            mute(graph, branch, silent, branch)
            nodes[reader].input[operand] = silent
            if index == 0:
                nodes[reader].input[operand] = free_name(f"{branch}/mapped", taken)
                graph.node.append(onnx.helper.make_node("Add", [silent, added], [nodes[reader].input[operand]]))


def _added(
    proto: onnx.ModelProto,
    map_: LinearMap,
    taken: set[str],
    rounding: Callable[[int, int], NDArray[np.float64]] | None,
) -> str:
    """The tensor with what the map adds to the entry."""
    matrix = map_.added()
    if rounding is not None:
        matrix = matrix * rounding(map_.width, map_.dtype)[:, None]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(map_.dtype)
    label = f"{map_.block.join}/map"
    order = list(range(map_.rank))
    order.append(order.pop(map_.axis))
    names = [free_name(f"{label}/{what}", taken) for what in ("A", "b", "turned", "product", "shifted", "added")]
    for name, values in zip(names, (matrix, map_.shift), strict=False):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(values.astype(dtype), name))
    a, b, turned, product, shifted, added = names
    back = np.argsort(order).tolist()
    proto.graph.node.extend(
        [
            onnx.helper.make_node("Transpose", [map_.block.entry], [turned], perm=order),
            onnx.helper.make_node("MatMul", [turned, a], [product]),
            onnx.helper.make_node("Add", [product, b], [shifted]),
            onnx.helper.make_node("Transpose", [shifted], [added], perm=back),
        ]
    )
    return added
