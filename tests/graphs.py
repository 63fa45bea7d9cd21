"""Small models for the tests, written as ONNX text, and ONNX Runtime to judge them by."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime as ort

from graphprune.ir.export import to_proto
from graphprune.ir.loading import load

Arrays = dict[str, np.ndarray]


def build(
    text: str, weights: Mapping[str, Sequence[int] | np.ndarray] | None = None, *, opset: int = 17, ir: int = 8
) -> onnx.ModelProto:
    """Parse ``(inputs) => (outputs) { nodes }``; ``weights`` are arrays, or shapes to fill at random."""
    proto = onnx.parser.parse_model(f'<ir_version: {ir}, opset_import: ["" : {opset}]> graph {text}')
    for name, given in (weights or {}).items():
        array = given if isinstance(given, np.ndarray) else random_weight(name, given)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return proto


def random_weight(name: str, shape: Sequence[int]) -> np.ndarray:
    """Float32 values that keep activations of order one; vectors are positive, so that they serve as variances."""
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    if len(shape) < 2:
        return np.asarray(generator.uniform(0.5, 1.5, shape), np.float32)
    fan_in = shape[0] if len(shape) == 2 else int(np.prod(shape[1:]))
    return np.asarray(generator.standard_normal(shape) / np.sqrt(fan_in), np.float32)


def random_feeds(proto: onnx.ModelProto, batch: int = 2, seed: int = 0) -> Arrays:
    """Normal float inputs; free dimensions take ``batch``. Inputs that name an initialiser are left out."""
    generator = np.random.default_rng(seed)
    known = {tensor.name for tensor in proto.graph.initializer}
    feeds: Arrays = {}
    for value in proto.graph.input:
        if value.name not in known:
            dims = [dim.dim_value or batch for dim in value.type.tensor_type.shape.dim]
            dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            feeds[value.name] = generator.standard_normal(dims).astype(dtype)
    return feeds


def run(model: onnx.ModelProto | Path, feeds: Arrays, names: list[str] | None = None) -> list[np.ndarray]:
    """What plain ONNX Runtime computes, on one thread and without its optimiser."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    results: list[np.ndarray] = ort.InferenceSession(source, options, ["CPUExecutionProvider"]).run(names, feeds)
    return results


def assert_same(got: Sequence[np.ndarray], expected: Sequence[np.ndarray], relative: float = 1e-5) -> None:
    """Equal dtypes, shapes and, to ``relative`` of the largest magnitude, values."""
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        np.testing.assert_allclose(one, other, rtol=0, atol=relative * float(np.abs(other).max(initial=0)))


def ops(proto: onnx.ModelProto) -> list[str]:
    """Operator types in the order of the file."""
    return [node.op_type for node in proto.graph.node]


def initialisers(proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}


def unused_initialisers(proto: onnx.ModelProto) -> set[str]:
    """Initialisers that nothing in a model without subgraphs reads."""
    read = {name for node in proto.graph.node for name in node.input} | {value.name for value in proto.graph.output}
    return {tensor.name for tensor in proto.graph.initializer} - read


def residual_mlp(blocks: int, width: int = 8, *, mask: bool = False) -> onnx.ModelProto:
    """A stem, ``blocks`` pre-activation blocks ``h{i} -> h{i+1}`` (joins ``join0`` ...) and a head, float32,
    free batch.

    With ``mask``, one mask computed from the second input gates every branch.
    """
    lines = ["[stem] h0 = MatMul(x, w_stem)"]
    weights: dict[str, Sequence[int]] = {"w_stem": (4, width), "w_head": (width, 3)}
    if mask:
        lines.append("[gate] g = Sigmoid(m)")
    for i in range(blocks):
        weights |= {f"a{i}": (width, 2 * width), f"b{i}": (2 * width, width)}
        lines += [f"[first{i}] p{i} = MatMul(h{i}, a{i})", f"[act{i}] q{i} = Tanh(p{i})"]
        lines.append(f"[second{i}] r{i} = MatMul(q{i}, b{i})")
        if mask:
            lines.append(f"[masked{i}] s{i} = Mul(r{i}, g)")
        lines.append(f"[join{i}] h{i + 1} = Add(h{i}, {'s' if mask else 'r'}{i})")
    lines.append(f"[head] y = MatMul(h{blocks}, w_head)")
    inputs = "float[N,4] x" + (f", float[N,{width}] m" if mask else "")
    return build(f"({inputs}) => (float[N,3] y) {{ {' '.join(lines)} }}", weights)


def normal_form(proto: onnx.ModelProto, feeds: Arrays | None = None) -> onnx.ModelProto:
    """Load and export; the result must be valid and compute the same."""
    out = to_proto(load(proto))
    onnx.checker.check_model(out, full_check=True)
    feeds = random_feeds(proto) if feeds is None else feeds
    assert_same(run(out, feeds), run(proto, feeds))
    return out


def tapped(proto: onnx.ModelProto, feeds: Arrays, names: list[str]) -> Arrays:
    """Inner tensors of a whole run."""
    copy = onnx.ModelProto.FromString(proto.SerializeToString())
    present = {value.name for value in copy.graph.output}
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in present)
    return dict(zip(names, run(copy, feeds, names), strict=True))
