"""A pruned network with the weights that the unpruned one had at an earlier time: what a lottery ticket starts with."""

from __future__ import annotations

import numpy as np
import onnx
from onnx_graphsurgeon.ir.tensor import LazyValues

from graphprune.errors import ModelError
from graphprune.ir.model import Model, constant_dims, constants, read_values


def rewound(model: Model, earlier: Model) -> Model:
    """A copy of ``model`` with the weights that ``earlier`` has under the same names.

    ``model`` is that network without some of its blocks: names and shapes are to be the same.

    Raises
    ------
    ModelError
        A weight has another shape there, or is not there.
    """
    small = model.copy()
    known = {constant.name: constant for constant in constants(earlier.graph)}
    for constant in constants(small.graph):
        values = read_values(constant, model.folder)
        if constant.name not in known:
            if values.dtype.kind != "f" or values.size < 2:
                continue
            raise ModelError(
                f"the network to rewind to has no weights '{constant.name}'",
                "give a file of the network that the model was pruned from",
            )
        dims = constant_dims(known[constant.name])
        if dims != values.shape:
            raise ModelError(
                f"'{constant.name}' is {list(values.shape)} here and {list(dims)} in the network to rewind to: units "
                "are gone, not blocks alone",
                "say by which plan they went: --plan PLAN, as --plan-out or --json of the pruning wrote it",
            )
        theirs = read_values(known[constant.name], earlier.folder)
        if values.dtype.kind == "f" and not np.array_equal(theirs, values):
            tensor = onnx.numpy_helper.from_array(np.ascontiguousarray(theirs.astype(values.dtype)), constant.name)
            constant._values = LazyValues(tensor)
    return small
