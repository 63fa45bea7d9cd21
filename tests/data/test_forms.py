"""Data in the forms of other tools, written and held by their own classes."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from graphprune.data.dataset import Data, load_data
from graphprune.errors import DataError
from graphprune.ir.loading import load
from graphprune.ir.model import Model

IMAGES = np.arange(24 * 3, dtype=np.float32).reshape(24, 3)
LABELS = np.arange(24, dtype=np.int64) % 4


def model(more: str = "") -> Model:
    text = f"""<ir_version: 8, opset_import: ["": 17]>
    g (float[N, 3] x{more}) => (float[N, 3] out) {{ out = Relu(x) }}"""
    return load(onnx.parser.parse_model(text))


def rows(data: Data, name: str = "x") -> np.ndarray:
    return np.concatenate([batch.feeds[name] for batch in data.batches(5)])


def refused(source: Any, match: str) -> None:
    with pytest.raises(DataError, match=match):
        rows(load_data(source, model()))


def test_calibration_data_reader_of_onnxruntime() -> None:
    quantization = pytest.importorskip("onnxruntime.quantization", reason="ONNX Runtime is not installed")

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]  # no stubs
        def __init__(self) -> None:
            self.left = iter(IMAGES)

        def get_next(self) -> dict[str, np.ndarray] | None:
            row = next(self.left, None)
            return None if row is None else {"x": row[None]}

    data = load_data(Reader(), model(), limit=9)
    np.testing.assert_array_equal(rows(data), IMAGES[:9])
    np.testing.assert_array_equal(rows(data), IMAGES[:9])  # though ONNX Runtime's can be read only once


def test_reader_from_a_script(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime.quantization", reason="ONNX Runtime is not installed")
    (tmp_path / "reader.py").write_text(
        "import numpy as np\n"
        "from onnxruntime.quantization import CalibrationDataReader\n"
        "class Reader(CalibrationDataReader):\n"
        "    def __init__(self):\n"
        "        self.rows = iter(np.arange(72, dtype=np.float32).reshape(24, 3))\n"
        "    def get_next(self):\n"
        "        row = next(self.rows, None)\n"
        "        return None if row is None else {'x': row[None]}\n"
        "def load_data():\n"
        "    return Reader()\n"
    )
    np.testing.assert_array_equal(rows(load_data(f"{tmp_path}/reader.py", model())), IMAGES)


def polygraphy_loader(*, is_described: bool) -> Any:
    pytest.importorskip("polygraphy", reason="Polygraphy is not installed")
    from polygraphy.common import TensorMetadata
    from polygraphy.comparator import DataLoader

    described = TensorMetadata().add("x", np.float32, (2, 3)) if is_described else None
    return DataLoader(iterations=4, input_metadata=described)


def test_data_loader_of_polygraphy() -> None:
    loader = polygraphy_loader(is_described=True)
    expected = np.concatenate([feed["x"] for feed in loader])
    data = load_data(loader, model())
    np.testing.assert_array_equal(rows(data), expected)
    np.testing.assert_array_equal(rows(data), expected)
    assert len(expected) == 8


def test_data_loader_of_polygraphy_without_metadata_is_refused() -> None:
    refused(polygraphy_loader(is_described=False), "gives no arrays; .*input_metadata")


def test_loader_script_of_polygraphy_imports_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "preparation_of_images.py").write_text("def prepared(image):\n    return image[None] * 2\n")
    (tmp_path / "loader.py").write_text(
        "import numpy as np\n"
        "from preparation_of_images import prepared\n"
        "def load_data():\n"
        "    for image in np.arange(72, dtype=np.float32).reshape(24, 3):\n"
        "        yield {'x': prepared(image)}\n"
    )
    np.testing.assert_array_equal(rows(load_data(f"{tmp_path}/loader.py:load_data", model())), IMAGES * 2)
    script = pytest.importorskip("polygraphy.mod", reason="Polygraphy is not installed")
    theirs = script.import_from_script(str(tmp_path / "loader.py"), "load_data")
    np.testing.assert_array_equal(np.concatenate([feed["x"] for feed in theirs()]), IMAGES * 2)


@pytest.mark.parametrize("form", ["list", "one feed", "folder"])
def test_inputs_saved_by_polygraphy(form: str, tmp_path: Path) -> None:
    serde = pytest.importorskip("polygraphy.json", reason="Polygraphy is not installed")
    feeds = [{"x": IMAGES[start : start + 8]} for start in range(0, 24, 8)]
    path = tmp_path / "inputs.json"
    if form == "list":
        serde.save_json(feeds, str(path))
    elif form == "one feed":
        serde.save_json({"x": IMAGES}, str(path))
    else:
        path = tmp_path / "inputs"
        path.mkdir()
        for index, feed in enumerate(feeds):
            serde.save_json(feed, str(path / f"{index:010}.json"))
    data = load_data(path, model())
    assert data.kind == "json"
    np.testing.assert_array_equal(rows(data), IMAGES)
    np.testing.assert_array_equal(rows(load_data(path, model(), limit=10)), IMAGES[:10])


def npy(array: np.ndarray, **options: Any) -> str:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return base64.b64encode(stream.getvalue()).decode()


def test_polygraphy_is_not_needed_to_read_what_it_saved(tmp_path: Path) -> None:
    content = [{"x": {"array": npy(IMAGES), "polygraphy_class": "ndarray"}}]
    (tmp_path / "inputs.json").write_text(json.dumps(content))
    np.testing.assert_array_equal(rows(load_data(tmp_path / "inputs.json", model())), IMAGES)


def test_a_single_number_may_be_an_input(tmp_path: Path) -> None:
    feed = {"x": IMAGES[:4], "rate": np.array(2.0, np.float32)}
    content = [{name: {"array": npy(array), "polygraphy_class": "ndarray"} for name, array in feed.items()}]
    (tmp_path / "inputs.json").write_text(json.dumps(content))
    data = load_data(tmp_path / "inputs.json", model(", float rate"))
    assert [float(batch.feeds["rate"]) for batch in data.batches(3)] == [2.0, 2.0]
    np.testing.assert_array_equal(rows(data), IMAGES[:4])


def encoded(text: str, kind: str = "ndarray") -> str:
    return json.dumps([{"x": {"array": text, "polygraphy_class": kind}}])


def long_header(shape: str) -> str:
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    return base64.b64encode(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode()).decode()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[{", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ("[3]", "holds no inputs but a int"),
        ('{"lst": [], "polygraphy_class": "RunResults"}', "holds no inputs but a RunResults"),
        ('[{"x": [1, 2]}]', "'x' of feed 0 of inputs.json is a list and no array"),
        (
            '[{"x": {"tensor": "UEsDBA==", "polygraphy_class": "Tensor"}}]',
            "pickled torch tensor, which is never loaded",
        ),
        (encoded("%%%"), "cannot be read as a NumPy array"),
        (encoded(base64.b64encode(b"\x93NUM").decode()), "cannot be read as a NumPy array"),
        (
            encoded(npy(np.array([{"a": 1}, None], object), allow_pickle=True)),
            "pickled objects, which are never loaded",
        ),
        (encoded(npy(IMAGES)[:-8]), "truncated"),
        (encoded(long_header("(4611686018427387904, 3)")), "truncated"),
        (encoded(long_header("(5, 4294967296, 4294967296)")), "truncated"),
    ],
)
def test_json_that_is_refused(text: str, match: str, tmp_path: Path) -> None:
    (tmp_path / "inputs.json").write_text(text)
    refused(tmp_path / "inputs.json", match)


def write_sets(folder: Path, names: Callable[[int], str], inputs: int = 1) -> None:
    """Twelve sets of two samples: more than ten, so that the order of their names is not the order of their numbers."""
    for index in range(12):
        one = folder / f"test_data_set_{index}"
        one.mkdir(parents=True)
        for number in range(inputs):
            array = IMAGES[2 * index : 2 * index + 2] + number
            onnx.save_tensor(onnx.numpy_helper.from_array(array, names(number)), one / f"input_{number}.pb")
        onnx.save_tensor(onnx.numpy_helper.from_array(LABELS[:2], "out"), one / "output_0.pb")


def test_sets_of_tensors_beside_a_model(tmp_path: Path) -> None:
    write_sets(tmp_path / "zoo", lambda _: "x")
    data = load_data(tmp_path / "zoo", model())
    assert data.kind == "tensors"
    np.testing.assert_array_equal(rows(data), IMAGES)
    np.testing.assert_array_equal(rows(data), IMAGES)
    np.testing.assert_array_equal(rows(load_data(tmp_path / "zoo" / "test_data_set_10", model())), IMAGES[20:22])


@pytest.mark.parametrize("is_named", [True, False])
def test_tensors_come_by_name_or_else_by_number(is_named: bool, tmp_path: Path) -> None:
    write_sets(tmp_path, lambda number: ("mask", "x")[number] if is_named else "", inputs=2)
    data = load_data(tmp_path, model(", float[N, 3] mask"))
    np.testing.assert_array_equal(rows(data, "x"), IMAGES + is_named)
    np.testing.assert_array_equal(rows(data, "mask"), IMAGES + (not is_named))


def external() -> bytes:
    tensor = onnx.numpy_helper.from_array(IMAGES, "x")
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return bytes(tensor.SerializeToString())


def short() -> bytes:
    tensor = onnx.numpy_helper.from_array(IMAGES, "x")
    tensor.raw_data = tensor.raw_data[:-4]
    return bytes(tensor.SerializeToString())


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"\xff\xff", "input_0.pb cannot be read as a tensor"),
        (b"", "input_0.pb holds no tensor of numbers"),
        (external(), "has its values in another file"),
        (short(), "holds no tensor of numbers"),
        (onnx.numpy_helper.from_list([IMAGES]).SerializeToString(), "input_0.pb"),
        (onnx.numpy_helper.from_array(np.array(["a", "b"], object), "x").SerializeToString(), "is object"),
    ],
    ids=["no protobuf", "empty", "external", "cut off", "sequence", "strings"],
)
def test_tensors_that_are_refused(content: bytes, match: str, tmp_path: Path) -> None:
    (tmp_path / "input_0.pb").write_bytes(content)
    refused(tmp_path, match)


def test_missing_number_among_unnamed_tensors(tmp_path: Path) -> None:
    onnx.save_tensor(onnx.numpy_helper.from_array(IMAGES), tmp_path / "input_1.pb")
    refused(tmp_path, "holds input_1.pb but no input_0.pb")


@pytest.mark.parametrize("form", ["loader", "loader of dicts", "tensor", "pair", "sampler"])
def test_torch(form: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from torch.utils.data import DataLoader, TensorDataset

    images, labels = torch.from_numpy(IMAGES), torch.from_numpy(LABELS)

    class Dicts(torch.utils.data.Dataset):  # type: ignore[misc, name-defined]  # no stubs
        def __len__(self) -> int:
            return len(images)

        def __getitem__(self, index: int) -> dict[str, Any]:
            return {"x": images[index], "labels": labels[index]}

    class Stream(torch.utils.data.IterableDataset):  # type: ignore[misc, name-defined]  # no stubs
        def __iter__(self) -> Iterator[Any]:
            return iter(zip(images, labels, strict=True))

    sources: dict[str, Any] = {
        "loader": DataLoader(TensorDataset(images, labels), batch_size=7),
        "loader of dicts": DataLoader(Dicts(), batch_size=7),
        "tensor": images.requires_grad_(),
        "pair": (images, labels),
        "sampler": DataLoader(Stream(), batch_size=7),
    }
    for limit in (None, 10):
        data = load_data(sources[form], model(), limit)
        np.testing.assert_array_equal(rows(data), IMAGES[:limit])
        if form != "tensor":
            given = [batch.labels for batch in data.batches(5) if batch.labels is not None]
            np.testing.assert_array_equal(np.concatenate(given), LABELS[:limit])
