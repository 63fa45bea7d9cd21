"""Small language models without a cache, by hand: token ids to logits of the next token."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.graphs import random_weight
from tests.token_graphs import Shape, transformer

VOCABULARY = 20


def language_model(shape: Shape) -> onnx.ModelProto:
    """``input_ids`` (N, S) and, with ``shape.mask``, ``attention_mask`` -> ``logits`` (N, S, 20)."""
    proto = transformer(shape)
    graph = proto.graph
    layers = [node for node in graph.node if node.name not in ("pool", "head")]
    del graph.node[:]
    graph.node.append(helper.make_node("Gather", ["embedding", "input_ids"], ["x"], "embed"))
    graph.node.extend(layers)
    graph.node.append(helper.make_node("MatMul", [f"h{shape.layers}", "w_vocabulary"], ["logits"], "head"))
    kept = [tensor for tensor in graph.initializer if tensor.name != "w_head"]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    for name, dims in (("embedding", (VOCABULARY, shape.width)), ("w_vocabulary", (shape.width, VOCABULARY))):
        graph.initializer.append(numpy_helper.from_array(random_weight(name, dims), name))
    others = [value for value in graph.input if value.name != "x"]
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["N", "S"]))
    graph.input.extend(others)
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", "S", VOCABULARY]))
    return proto


def token_ids(samples: int = 8, length: int = 6, *, mask: bool = False) -> dict[str, np.ndarray]:
    """Feeds; with a mask, prompts of different lengths."""
    feeds = {"input_ids": np.random.default_rng(4).integers(0, VOCABULARY, (samples, length))}
    if mask:
        lengths = 2 + np.arange(samples) % (length - 1)
        feeds["attention_mask"] = (np.arange(length) < lengths[:, None]).astype(np.int64)
    return feeds
