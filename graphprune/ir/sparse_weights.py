"""Sparse weights, written out: ONNX Runtime computes with dense ones, too, and a cut is the same for both."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.helper import make_attribute, tensor_dtype_to_np_dtype

from graphprune.errors import ModelError
from graphprune.ir.bodies import graphs_of

_MOST_BYTES = 1 << 31  # of one tensor: its sizes are the file's word


def with_dense_weights(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its sparse initialisers and constants dense: a copy, or itself where it has none.

    Raises
    ------
    ModelError
        Indices or values do not fit the sizes, or it would be larger than a file can hold.
    """
    if not any(graph.sparse_initializer for graph in graphs_of(proto.graph)) and not any(_sparse_constants(proto)):
        return proto
    dense = onnx.ModelProto()
    dense.CopyFrom(proto)
    for graph in graphs_of(dense.graph):
        graph.initializer.extend(_dense(tensor) for tensor in graph.sparse_initializer)
        del graph.sparse_initializer[:]
    for attribute in _sparse_constants(dense):
        attribute.CopyFrom(make_attribute("value", _dense(attribute.sparse_tensor)))
    return dense


def _sparse_constants(proto: onnx.ModelProto) -> Iterator[onnx.AttributeProto]:
    for graph in graphs_of(proto.graph):
        for node in graph.node:
            yield from (each for each in node.attribute if node.op_type == "Constant" and each.name == "sparse_value")


def _dense(sparse: onnx.SparseTensorProto) -> onnx.TensorProto:
    """Indices are [values] into the flattened tensor, or [values, axes]."""
    name, dims = sparse.values.name, tuple(sparse.dims)
    dtype = tensor_dtype_to_np_dtype(sparse.values.data_type)
    try:
        if min(dims, default=1) < 0 or prod(dims) * dtype.itemsize > _MOST_BYTES:
            raise ValueError(f"its sizes are {list(dims)}")
        values, indices = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
        array = np.zeros(dims, dtype)
        if indices.ndim == 2:
            indices = np.ravel_multi_index(tuple(indices.T), dims)
        if len(indices) and not 0 <= indices.min() <= indices.max() < array.size:
            raise ValueError("an index lies outside")
        array.reshape(-1)[indices] = values
    except (ValueError, IndexError, TypeError) as error:
        raise ModelError(f"the sparse weight '{name}' is damaged: {error}", "export the model again") from None
    return numpy_helper.from_array(array, name)
