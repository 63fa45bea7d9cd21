"""What the last layer of ``residual_mlp`` reads: the features that blocks are scored by."""

from __future__ import annotations

import numpy as np
import onnx

from tests.graphs import run


def features(proto: onnx.ModelProto, data: np.ndarray) -> np.ndarray:
    """The input of the last layer of ``residual_mlp``, by running a model that has it as an output."""
    last = proto.graph.node[-1]
    proto.graph.output.append(onnx.helper.make_tensor_value_info(last.input[0], onnx.TensorProto.FLOAT, None))
    return run(proto, {proto.graph.input[0].name: data}, [last.input[0]])[0]


def samples(proto: onnx.ModelProto, count: int = 200) -> np.ndarray:
    width = proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    return np.random.default_rng(3).standard_normal((count, width)).astype(np.float32)
