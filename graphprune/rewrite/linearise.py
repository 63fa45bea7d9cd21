"""Put linear maps where residual branches were: one MatMul with a bias, or one 1x1 Conv, for each."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import onnx_graphsurgeon as gs

from graphprune.ir.free_names import free_name, names_in
from graphprune.ir.model import Model
from graphprune.rewrite.cache import close
from graphprune.rewrite.linear_map import LinearMap
from graphprune.rewrite.weights import new_constant


def linearise(model: Model, maps: Sequence[LinearMap]) -> Model:
    """A copy of ``model`` in which each of ``maps`` makes its output, and nothing is left of the branches.

    What follows the joins stays as it is. The cache of an attention that is gone goes, too, as in
    :func:`graphprune.rewrite.remove_blocks`.

    Raises
    ------
    PlanError
        No layer would be left that has a cache, where there were some.
    """
    small = model.copy()
    small.node_protos, small.shapes, small.dtypes = dict(model.node_protos), dict(model.shapes), dict(model.dtypes)
    tensors, taken = small.graph.tensors(), set(names_in(model))
    for map_ in maps:
        _put(small, map_, tensors[map_.block.entry], tensors[map_.output], taken)
    close(small, model, [map_.block for map_ in maps], [name for map_ in maps for name in map_.gone])
    return small


def _put(model: Model, map_: LinearMap, entry: gs.Tensor, output: gs.Tensor, taken: set[str]) -> None:
    """Let the map make ``output`` of ``entry``; who made it no longer does."""
    dtype = onnx.helper.tensor_dtype_to_np_dtype(map_.dtype)
    label, shifter = map_.nodes
    weights, shift = map_.weights.astype(dtype), map_.shift.astype(dtype)
    output.inputs.clear()
    if map_.axis == 1:
        ones = [1] * (map_.rank - 2)
        kernel = new_constant(free_name(f"{label}/weight", taken), weights.T.reshape(*weights.shape, *ones))
        bias = new_constant(free_name(f"{label}/bias", taken), shift)
        model.graph.nodes.append(
            gs.Node("Conv", label, {"kernel_shape": ones}, inputs=[entry, kernel, bias], outputs=[output])
        )
        return
    product = gs.Variable(free_name(f"{label}/product", taken), output.dtype, output.shape)
    model.dtypes[product.name] = map_.dtype
    if map_.output in model.shapes:
        model.shapes[product.name] = model.shapes[map_.output]
    matrix = new_constant(free_name(f"{label}/weight", taken), weights)
    vector = new_constant(free_name(f"{label}/bias", taken), shift)
    model.graph.nodes += [
        gs.Node("MatMul", label, inputs=[entry, matrix], outputs=[product]),
        gs.Node("Add", shifter, inputs=[product, vector], outputs=[output]),
    ]
