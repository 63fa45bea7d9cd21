"""Model files that are no models, invalid graphs, and external data that must not be followed."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.bad_inputs.case import Case
from tests.bad_inputs.models import WEIGHT, edited, external, initialiser, node, point_outside, save, text

SHIPPED = Path(__file__).parents[2] / "models" / "fashion_resnet32.onnx"
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4006cec1f85245323aae742592bb2cfc\nsize 1880485\n"
PLAIN = "g (float[N,4] x) => (float[N,4] y)"


def content(data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / "model.onnx").write_bytes(data)


def folder_model(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").mkdir()


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model.onnx", SHIPPED.read_bytes()[:1000])
    return buffer.getvalue()


def opset(version: int) -> Callable[[Path], object]:
    return edited(lambda model: setattr(model.opset_import[0], "version", version))


def wrong_dtype(model: onnx.ModelProto) -> None:
    """An Add of float and int64, which only type inference notices."""
    cast = helper.make_node("Cast", ["r2"], ["whole"], "cast", to=onnx.TensorProto.INT64)
    position = next(i for i, each in enumerate(model.graph.node) if each.name == "add2")
    model.graph.node[position].input[1] = "whole"
    model.graph.node.insert(position, cast)


def unsorted_nodes(model: onnx.ModelProto) -> None:
    nodes = [onnx.NodeProto.FromString(each.SerializeToString()) for each in reversed(model.graph.node)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def sequence_input(model: onnx.ModelProto) -> None:
    tensor = model.graph.input[0].type
    kind = helper.make_sequence_type_proto(onnx.TypeProto.FromString(tensor.SerializeToString()))
    model.graph.input[0].type.CopyFrom(kind)
    model.graph.input[0].name = "xs"
    first = helper.make_node("Constant", [], ["zero"], "zero", value_int=0)
    model.graph.node.insert(0, helper.make_node("SequenceAt", ["xs", "zero"], ["x"], "at"))
    model.graph.node.insert(0, first)


def no_shape(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.ClearField("shape")


def nan_weight(model: onnx.ModelProto) -> None:
    tensor = initialiser(model, WEIGHT)
    tensor.CopyFrom(numpy_helper.from_array(np.full(tuple(tensor.dims), np.nan, np.float32), WEIGHT))


def truncated_data(folder: Path) -> None:
    external("weights.bin")(folder)
    (folder / "weights.bin").write_bytes(b"short")


def untyped_external(folder: Path) -> None:
    external("weights.bin")(folder)
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    initialiser(model, WEIGHT).data_type = 99
    save(model, folder)


def constant_outside(folder: Path) -> None:
    """External data in the attribute of a Constant node instead of an initialiser."""
    external("weights.bin")(folder)
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    tensor = initialiser(model, WEIGHT)
    model.graph.initializer.remove(tensor)
    del tensor.external_data[:]
    point_outside(tensor, {"location": "../weights.bin"})
    model.graph.node.insert(0, helper.make_node("Constant", [], [WEIGHT], "constant", value=tensor))
    save(model, folder)


def drop_data(folder: Path) -> None:
    external("weights.bin")(folder)
    (folder / "weights.bin").unlink()


def random_bytes() -> bytes:
    return np.random.default_rng(7).bytes(4096)


def fake_quantised(model: onnx.ModelProto) -> None:
    """Quantise and dequantise the pooled features, with a scale that is found at run time."""
    found = ["codes", "scale", "zero"]
    model.graph.node.append(helper.make_node("DynamicQuantizeLinear", ["pooled"], found, "DynamicQuantizeLinear"))
    model.graph.node.append(helper.make_node("DequantizeLinear", found, ["rounded"], "DequantizeLinear"))
    node(model, "flat").input[0] = "rounded"
    sort(model)


def reordered(model: onnx.ModelProto) -> None:
    """What ONNX Runtime writes when it saves its optimised graph."""
    node(model, "relu0").domain = "com.microsoft.nchwc"
    model.opset_import.append(helper.make_opsetid("com.microsoft.nchwc", 1))


def sort(model: onnx.ModelProto) -> None:
    """Move the reader of the features behind what was appended."""
    late = [node(model, name) for name in ("flat", "gemm")]
    copies = [onnx.NodeProto.FromString(one.SerializeToString()) for one in late]
    for one in late:
        model.graph.node.remove(one)
    model.graph.node.extend(copies)


CASES = [
    Case("model missing", 1, "there is no file nowhere.onnx", model="nowhere.onnx"),
    Case("model name too long", 1, "name too long", model="m" * 300 + ".onnx"),
    Case("model is a folder", 1, "is a folder", folder_model),
    Case("empty file", 1, "is empty", content(b"")),
    Case("git-lfs pointer", 1, "not an ONNX file", content(LFS_POINTER)),
    Case("web page", 1, "ONNX", content(b"<!DOCTYPE html><html><body>404</body></html>\n")),
    Case("truncated", 1, "truncated", content(SHIPPED.read_bytes()[:900_000])),
    Case("random bytes", 1, "not an ONNX file", content(random_bytes())),
    Case("zip", 1, "not an ONNX file", content(zipped())),
    Case("json", 1, "not an ONNX file", content(b'{"ir_version": 8, "graph": {"node": []}}')),
    Case(
        "no graph",
        1,
        "holds no ONNX graph",
        content(onnx.ModelProto(ir_version=8, producer_name="p").SerializeToString()),
    ),
    Case("no nodes", 1, "holds no ONNX graph", text(f"{PLAIN} {{ }}")),
    Case("no opset import", 1, "operator set", edited(lambda model: model.ClearField("opset_import"))),
    Case(
        "opset of another domain only", 1, "operator set", edited(lambda m: setattr(m.opset_import[0], "domain", "x"))
    ),
    Case("opset 10", 1, "opset 10; graphprune reads 11", opset(10)),
    Case("future opset", 1, "opset 999.*knows up to", opset(999)),
    Case("cycle", 1, "not valid ONNX", text(f"{PLAIN} {{ a = Add(x, b) b = Relu(a) y = Neg(b) }}")),
    Case("dangling input", 1, "not valid ONNX.*nowhere", text(f"{PLAIN} {{ y = Add(x, nowhere) }}")),
    Case("dangling output", 1, "not valid ONNX|output", text(f"{PLAIN} {{ z = Relu(x) }}")),
    Case("duplicate output names", 1, "not valid ONNX", text(f"{PLAIN} {{ y = Relu(x) y = Neg(x) }}")),
    Case(
        "unknown operator",
        1,
        "does not have the operator Frobnicate",
        text(f"{PLAIN} {{ y = Frobnicate(x) }}"),
        data=None,
        extra="--allow-made-up-data",
    ),
    Case(
        "unknown operator of another domain",
        1,
        "does not have the operator acme::Frobnicate",
        text(
            f"{PLAIN} {{ a = Relu(x) b = acme.Frobnicate(a) y = Add(a, b) }}",
            'ir_version: 8, opset_import: ["": 17, "acme": 1]',
        ),
        data=None,
        extra="--allow-made-up-data",
    ),
    Case("wrong dtype", 1, r"[Tt]ype", edited(wrong_dtype)),
    Case(
        "wrong dtype in a plain chain",
        1,
        r"[Tt]ype",
        text(f"{PLAIN} {{ k = Cast<to = 7>(x) y = Add(x, k) }}"),
        data=None,
    ),
    Case("unsorted nodes", 1, "not valid ONNX.*sorted", edited(unsorted_nodes)),
    Case("constant graph", 1, "computes nothing", text(f"{PLAIN} {{ y = Constant<value_floats = [1.0]>() }}")),
    Case(
        "no inputs", 1, "input", text("g () => (float[2] y) { a = RandomNormal<shape = [2]>() y = Relu(a) }"), data=None
    ),
    Case("sequence input", 1, "xs", edited(sequence_input), data=None),
    Case("input without a shape", 1, "'x' has no shape", edited(no_shape), data=None),
    Case(
        "scalar input",
        3,
        "no residual",
        text("g (float x) => (float y) { y = Relu(x) }"),
        data=None,
        extra="--allow-made-up-data",
    ),
    Case("NaN weights", 1, "NaN|finite", edited(nan_weight)),
    Case("initialiser of impossible size", 1, "head", edited(lambda m: initialiser(m, "head").dims.append(7))),
    Case("initialiser of unknown dtype", 1, "head", edited(lambda m: setattr(initialiser(m, "head"), "data_type", 99))),
    Case("bad attribute", 1, "pads|Conv", edited(lambda m: node(m, "stem").attribute[0].ints.append(1))),
    Case("quantised", 1, "(?s)the model is quantised .*quantise the result", edited(fake_quantised)),
    Case("optimised for one processor", 1, "(?s)of com.microsoft.nchwc.*as exported", edited(reordered)),
    Case("external missing", 1, "needs the external data file 'weights.bin'", drop_data),
    Case("external absolute", 1, "outside the model's folder", external("/etc/passwd")),
    Case("external climbs out", 1, "outside the model's folder", external("../weights.bin")),
    Case("external through a link", 1, "outside the model's folder", external("link.bin")),
    Case("external without location", 1, "outside the model's folder", external("")),
    Case("external truncated", 1, "holds 5 bytes", truncated_data),
    Case("external offset is no number", 1, "unreadable offset", external("weights.bin", offset="many")),
    Case("external offset beyond the file", 1, "at 999999 of", external("weights.bin", offset="999999")),
    Case("external offset negative", 1, "at -8 of", external("weights.bin", offset="-8")),
    Case("external length wrong", 1, "asks for 12 bytes", external("weights.bin", length="12")),
    Case("external of unknown dtype", 1, "blocks.2.conv.weight", untyped_external),
    Case("external in a Constant climbs out", 1, "outside|external|data", constant_outside),
]
