"""What the cases of the replay work on: the shipped network, a few small ones, and data for them;
the same on every call.
"""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx.parser

_CALIBRATION, _EVALUATION = 48, 200
_SMALL_SAMPLES, _CLASSES, _SIDE = 64, 4, 8
_LAYERS, _HEADS, _DEPTH, _NEURONS, _WIDTH, _TOKENS = 3, 4, 4, 24, 16, 6


def write_inputs(models: Path, folder: Path) -> None:
    """Fill ``folder``; ``models`` holds the shipped network and its data."""
    shutil.copy(models / "fashion_resnet32.onnx", folder / "fashion.onnx")
    for name, source, count in (("calib", "calibration", _CALIBRATION), ("eval", "eval", _EVALUATION)):
        with np.load(models / f"fashion_{source}.npz") as arrays:
            np.savez(folder / f"{name}.npz", **{key: arrays[key][:count] for key in arrays.files})
    generator = np.random.default_rng(0)
    labels = np.arange(_SMALL_SAMPLES) % _CLASSES
    images = generator.uniform(0, 1, (_SMALL_SAMPLES, 3, _SIDE, _SIDE)) + 0.3 * labels[:, None, None, None]
    x = (images / images.max()).astype(np.float32)
    np.savez(folder / "images.npz", x=x, labels=labels)
    np.savez(folder / "doubles.npz", x=x.astype(np.float64))
    np.savez(folder / "holes.npz", x=np.where(x > 0.99, np.nan, x))
    np.savez(folder / "turned.npz", x=x.transpose(0, 2, 3, 1).copy())
    tokens = generator.standard_normal((_SMALL_SAMPLES, _TOKENS, _WIDTH)).astype(np.float32)
    np.savez(folder / "tokens.npz", x=tokens, labels=labels)
    onnx.save(cnn(), folder / "cnn.onnx")
    onnx.save(cnn(), folder / "big.onnx", save_as_external_data=True, location="big.bin", size_threshold=256)
    onnx.save(transformer(), folder / "tf.onnx")
    onnx.save(_model("(float[N,4] x) => (float[N,4] y) { a = Relu(x) y = Neg(a) }", {}), folder / "chain.onnx")
    dense = "(float[N,4] x) => (float[N,3] y) { [up] a = MatMul(x, wa) [act] b = Relu(a) [down] y = MatMul(b, wb) }"
    onnx.save(_model(dense, {"wa": (4, 6), "wb": (6, 3)}), folder / "tiny.onnx")
    (folder / "future.json").write_text(json.dumps({"schema": "graphprune.plan/9"}))
    (folder / "text.onnx").write_text(json.dumps({"graph": {"node": []}}))
    (folder / "empty.onnx").write_bytes(b"")
    (folder / "loader.py").write_text(
        "import numpy as np\ndef load_data():\n    yield {'x': np.load('images.npz')['x']}\n"
    )


def cnn() -> onnx.ModelProto:
    """A stem with a BatchNormalization, five residual blocks in two stages, a depthwise and a grouped convolution,
    two dense layers.
    """
    lines = ["[stem] s = Conv<pads = [1, 1, 1, 1]>(x, w_stem)", "[norm] n = BatchNormalization(s, n1, n2, n3, n4)"]
    lines.append("[relu] h0 = Relu(n)")
    weights: dict[str, tuple[int, ...]] = {"w_stem": (16, 3, 3, 3)} | {f"n{i}": (16,) for i in range(1, 5)}
    for i in range(5):
        if i == 3:
            lines.append("[down] d = Conv<strides = [2, 2], pads = [1, 1, 1, 1]>(h3, w_down)")
            weights["w_down"] = (16, 16, 3, 3)
        lines += [
            f"[block{i}__c1] a{i} = Conv<pads = [1, 1, 1, 1]>({'d' if i == 3 else f'h{i}'}, u{i}, ub{i})",
            f"[block{i}__r1] b{i} = Relu(a{i})",
            f"[block{i}__c2] c{i} = Conv<pads = [1, 1, 1, 1]>(b{i}, v{i})",
            f"[block{i}__add] e{i} = Add({'d' if i == 3 else f'h{i}'}, c{i})",
            f"[block{i}__r2] h{i + 1} = Relu(e{i})",
        ]
        weights |= {f"u{i}": (24, 16, 3, 3), f"ub{i}": (24,), f"v{i}": (16, 24, 3, 3)}
    lines += [
        "[wide] p = Conv(h5, w_wide) [wide__r] q = Relu(p)",
        "[depthwise] r = Conv<pads = [1, 1, 1, 1], group = 32>(q, w_dw)",
        "[grouped] t = Conv<group = 4>(r, w_group) [grouped__r] u = Relu(t)",
        "[pool] v = GlobalAveragePool(u) [flat] w = Flatten(v)",
        "[fc1] z = Gemm<transB = 1>(w, w_fc1, b_fc1) [fc1__r] zz = Relu(z) [fc2] y = Gemm(zz, w_fc2)",
    ]
    weights |= {"w_wide": (32, 16, 1, 1), "w_dw": (32, 1, 3, 3), "w_group": (32, 8, 1, 1)}
    weights |= {"w_fc1": (20, 32), "b_fc1": (20,), "w_fc2": (20, _CLASSES)}
    return _model(f"(float[N,3,{_SIDE},{_SIDE}] x) => (float[N,{_CLASSES}] y) {{ {' '.join(lines)} }}", weights)


def transformer() -> onnx.ModelProto:
    """Pre-norm layers of attention and a gated MLP; tokens (N, S, width) -> scores (N, classes)."""
    inner = _HEADS * _DEPTH
    lines: list[str] = []
    weights: dict[str, tuple[int, ...] | np.ndarray] = {
        "split": np.array([0, 0, _HEADS, _DEPTH]),
        "merge": np.array([0, 0, inner]),
        "scale": np.array(_DEPTH**-0.5, np.float32),
        "w_head": (_WIDTH, _CLASSES),
    }
    for i in range(_LAYERS):
        here = f"h{i}" if i else "x"
        lines.append(f"[l{i}__norm1] a{i} = LayerNormalization<axis = -1>({here}, ga1_{i}, be1_{i})")
        for part, perm in (("q", "0, 2, 1, 3"), ("k", "0, 2, 3, 1"), ("v", "0, 2, 1, 3")):
            lines += [
                f"[l{i}__{part}] {part}{i} = MatMul(a{i}, w{part}{i})",
                f"[l{i}__{part}__split] {part}s{i} = Reshape({part}{i}, split)",
                f"[l{i}__{part}__turn] {part}t{i} = Transpose<perm = [{perm}]>({part}s{i})",
            ]
            weights[f"w{part}{i}"] = (_WIDTH, inner)
        lines += [
            f"[l{i}__qk] m{i} = MatMul(qt{i}, kt{i}) [l{i}__scale] ms{i} = Mul(m{i}, scale)",
            f"[l{i}__softmax] p{i} = Softmax<axis = -1>(ms{i}) [l{i}__pv] o{i} = MatMul(p{i}, vt{i})",
            f"[l{i}__turn] ot{i} = Transpose<perm = [0, 2, 1, 3]>(o{i}) [l{i}__merge] om{i} = Reshape(ot{i}, merge)",
            f"[l{i}__out] oo{i} = MatMul(om{i}, wo{i}) [l{i}__add1] r{i} = Add({here}, oo{i})",
            f"[l{i}__norm2] b{i} = LayerNormalization<axis = -1>(r{i}, ga2_{i}, be2_{i})",
            f"[l{i}__up] up{i} = MatMul(b{i}, wu{i}) [l{i}__gate] ga{i} = MatMul(b{i}, wg{i})",
            f"[l{i}__sigmoid] si{i} = Sigmoid(ga{i}) [l{i}__silu] sl{i} = Mul(ga{i}, si{i})",
            f"[l{i}__gated] hi{i} = Mul(sl{i}, up{i}) [l{i}__down] dn{i} = MatMul(hi{i}, wd{i})",
            f"[l{i}__add2] h{i + 1} = Add(r{i}, dn{i})",
        ]
        weights |= {f"wo{i}": (inner, _WIDTH), f"wu{i}": (_WIDTH, _NEURONS), f"wg{i}": (_WIDTH, _NEURONS)}
        weights |= {f"wd{i}": (_NEURONS, _WIDTH)} | {f"{name}_{i}": (_WIDTH,) for name in ("ga1", "be1", "ga2", "be2")}
    lines += [f"[pool] pooled = ReduceMean<axes = [1], keepdims = 0>(h{_LAYERS})", "[head] y = MatMul(pooled, w_head)"]
    return _model(f"(float[N,S,{_WIDTH}] x) => (float[N,{_CLASSES}] y) {{ {' '.join(lines)} }}", weights)


def _model(text: str, weights: Mapping[str, tuple[int, ...] | np.ndarray]) -> onnx.ModelProto:
    """Parsed text with arrays, or with shapes filled at random so that activations stay of order one."""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> graph {text}')
    for node in proto.graph.node:
        node.name = node.name.replace("__", ".")  # the parser takes no dots
    for name, given in weights.items():
        array = given if isinstance(given, np.ndarray) else _random(name, given)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    onnx.checker.check_model(proto)
    return proto


def _random(name: str, shape: tuple[int, ...]) -> np.ndarray:
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    if len(shape) == 1:
        return generator.uniform(0.5, 1.5, shape).astype(np.float32)
    fan_in = shape[0] if len(shape) == 2 else int(np.prod(shape[1:]))
    drawn: np.ndarray = generator.standard_normal(shape) / np.sqrt(fan_in)
    return drawn.astype(np.float32)
