"""Every form of data is recognised, streamed in batches of the right size, and checked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from graphprune.data import sources
from graphprune.data.dataset import Data, load_data
from graphprune.data.made_up import synthetic
from graphprune.errors import DataError
from graphprune.ir.loading import load
from graphprune.ir.model import Model

IMAGES = np.arange(10 * 3, dtype=np.float32).reshape(10, 3)
LABELS = np.arange(10, dtype=np.int64) % 4


def model(dims: str = "N, 3", more: str = "") -> Model:
    text = f"""<ir_version: 8, opset_import: ["": 17]>
    g (float[{dims}] x{more}) => (float[{dims}] out) {{ out = Relu(x) }}"""
    return load(onnx.parser.parse_model(text))


class Reader:
    """What onnxruntime.quantization.CalibrationDataReader looks like; readable once."""

    def __init__(self) -> None:
        self._rows = iter(IMAGES)

    def get_next(self) -> dict[str, np.ndarray] | None:
        row = next(self._rows, None)
        return None if row is None else {"x": row[None]}


def rows(data: Data, size: int = 4) -> np.ndarray:
    return np.concatenate([batch.feeds["x"] for batch in data.batches(size)])


def write_forms(folder: Path) -> dict[str, Any]:
    np.savez(folder / "plain.npz", x=IMAGES)
    np.savez_compressed(folder / "other_name.npz", images=IMAGES, labels=LABELS)
    np.savez(folder / "labels_y.npz", x=IMAGES, y=LABELS[:, None])
    np.savez(folder / "one_hot.npz", x=IMAGES, labels=np.eye(4)[LABELS])
    np.save(folder / "single.npy", IMAGES)
    (folder / "batches").mkdir()
    for index in range(0, 10, 3):
        np.savez(folder / "batches" / f"{index}.npz", x=IMAGES[index : index + 3])
    (folder / "arrays").mkdir()
    for index in range(0, 10, 5):
        np.save(folder / "arrays" / f"{index}.npy", IMAGES[index : index + 5])
    script = "import numpy as np\nI = np.arange(30, dtype=np.float32).reshape(10, 3)\n"
    script += "def load_data():\n    for row in I:\n        yield {'x': row[None]}\n"
    script += "def tuples():\n    return [(I[:6], np.zeros(6, int)), (I[6:], np.zeros(4, int))]\n"
    script += "def whole():\n    return {'x': I}\n"
    script += "def array():\n    return I\n"
    (folder / "feed.py").write_text(script)
    paths = ["plain.npz", "other_name.npz", "labels_y.npz", "one_hot.npz", "single.npy", "batches", "arrays", "feed.py"]
    paths += ["feed.py:tuples", "feed.py:whole", "feed.py:array"]
    forms: dict[str, Any] = {name: str(folder / name) for name in paths}
    forms |= {"array": IMAGES, "mapping": {"x": IMAGES}, "list of arrays": [IMAGES[:7], IMAGES[7:]]}
    forms |= {
        "list of dicts": [{"x": IMAGES[:7]}, {"x": IMAGES[7:]}],
        "reader": Reader(),
        "generator": (row[None] for row in IMAGES),
    }
    return forms


FORMS = ["plain.npz", "other_name.npz", "labels_y.npz", "one_hot.npz", "single.npy", "batches", "arrays", "feed.py"]
FORMS += [
    "feed.py:tuples",
    "feed.py:whole",
    "feed.py:array",
    "array",
    "mapping",
    "list of arrays",
    "list of dicts",
    "reader",
    "generator",
]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_rows_twice(form: str, tmp_path: Path) -> None:
    data = load_data(write_forms(tmp_path)[form], model())
    np.testing.assert_array_equal(rows(data), IMAGES)
    np.testing.assert_array_equal(rows(data, 3), IMAGES)


@pytest.mark.parametrize("form", ["other_name.npz", "labels_y.npz", "one_hot.npz"])
def test_labels(form: str, tmp_path: Path) -> None:
    data = load_data(write_forms(tmp_path)[form], model())
    labels = [batch.labels for batch in data.batches(4)]
    np.testing.assert_array_equal(np.concatenate([part for part in labels if part is not None]), LABELS)
    assert [len(part) for part in labels if part is not None] == [4, 4, 2]


def test_chunks_across_files_make_even_batches(tmp_path: Path) -> None:
    data = load_data(write_forms(tmp_path)["batches"], model())
    assert [len(batch) for batch in data.batches(4)] == [4, 4, 2]


@pytest.mark.parametrize("form", ["plain.npz", "batches", "feed.py", "array"])
def test_limit_counts_samples(form: str, tmp_path: Path) -> None:
    data = load_data(write_forms(tmp_path)[form], model(), limit=7)
    assert [len(batch) for batch in data.batches(4)] == [4, 3]


def test_fixed_batch_of_the_graph_wins_and_drops_the_rest() -> None:
    data = load_data(IMAGES, model("4, 3"))
    assert [len(batch) for batch in data.batches(32)] == [4, 4]
    with pytest.raises(DataError, match="holds less than a batch of 4"):
        list(load_data(IMAGES[:3], model("4, 3")).batches(1))


def test_first_repeats_samples_to_fill_a_batch() -> None:
    feeds = load_data(IMAGES[:3], model()).first(5)
    np.testing.assert_array_equal(feeds["x"], IMAGES[[0, 1, 2, 0, 1]])


def test_npz_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No chunk holds more than the chunk size, whatever the file's size."""
    monkeypatch.setattr(sources, "_CHUNK_BYTES", 100)
    np.savez(tmp_path / "big.npz", x=np.zeros((1000, 3), np.float32), labels=np.zeros(1000, np.int64))
    _, chunks = sources.from_path(str(tmp_path / "big.npz"))
    sizes = [len(chunk["x"]) for chunk in chunks()]
    assert max(sizes) * 3 * 4 <= 100
    assert sum(sizes) == 1000


def test_one_shot_reader_is_kept_only_up_to_the_limit() -> None:
    read = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal read
        while True:
            read += 1
            yield np.full((2, 3), read, np.float32)

    data = load_data(endless(), model(), limit=5)
    first, second = rows(data), rows(data)
    np.testing.assert_array_equal(first, second)
    assert len(first) == 5
    assert read == 3


class Tensor:
    """What a torch tensor looks like from outside; torch itself is not needed."""

    def __init__(self, values: np.ndarray) -> None:
        self._values = values

    def detach(self) -> Tensor:
        return self

    cpu = detach

    def numpy(self) -> np.ndarray:
        return self._values

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class Loader:
    """What a DataLoader looks like: it can be iterated again, and gives lists of tensors."""

    def __init__(self) -> None:
        self.readings = 0

    def __iter__(self) -> Iterator[list[Tensor]]:
        self.readings += 1
        for start in range(0, 10, 4):
            yield [Tensor(IMAGES[start : start + 4]), Tensor(LABELS[start : start + 4])]


@pytest.mark.parametrize("form", ["tensor", "tuple", "tensors", "mapping", "loader", "list of tuples"])
def test_tensors_and_labelled_tuples(form: str) -> None:
    forms: dict[str, Any] = {
        "tensor": Tensor(IMAGES),
        "tuple": (IMAGES, LABELS),
        "tensors": (Tensor(IMAGES), Tensor(LABELS)),
        "mapping": {"x": Tensor(IMAGES), "y": Tensor(LABELS)},
        "loader": Loader(),
        "list of tuples": [(IMAGES[:7], LABELS[:7]), (Tensor(IMAGES[7:]), LABELS[7:])],
    }
    data = load_data(forms[form], model(), None)
    np.testing.assert_array_equal(rows(data), IMAGES)
    np.testing.assert_array_equal(rows(data), IMAGES)
    labels = [batch.labels for batch in data.batches(4) if batch.labels is not None]
    assert form == "tensor" or np.concatenate(labels).tolist() == LABELS.tolist()


def test_script_may_return_a_tuple_or_a_loader(tmp_path: Path) -> None:
    script = "import numpy as np\nI = np.arange(30, dtype=np.float32).reshape(10, 3)\nL = np.arange(10) % 4\n"
    script += "def pair():\n    return I, L\n"
    script += "class Loader:\n    def __iter__(self):\n        yield [I[:4], L[:4]]\n        yield [I[4:], L[4:]]\n"
    script += "def loader():\n    return Loader()\n"
    (tmp_path / "feed.py").write_text(script)
    for function in ("pair", "loader"):
        batches = list(load_data(f"{tmp_path}/feed.py:{function}", model(), None).batches(10))
        np.testing.assert_array_equal(batches[0].feeds["x"], IMAGES)
        assert batches[0].labels is not None
        np.testing.assert_array_equal(batches[0].labels, LABELS)


def test_what_can_be_read_again_is_not_kept_unless_limited() -> None:
    loader = Loader()
    data = load_data(loader, model(), None)
    assert len(rows(data)) == len(rows(data)) == 10
    assert loader.readings == 2
    limited = Loader()
    data = load_data(limited, model(), 7)
    assert len(rows(data)) == len(rows(data)) == 7
    assert limited.readings == 1


def test_large_arrays_come_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_CHUNK_BYTES", 48)
    for source in (IMAGES, {"x": IMAGES}, [IMAGES]):
        data = load_data(source, model(), None)
        assert [len(chunk["x"]) for chunk in data.chunks()] == [4, 4, 2]
        np.testing.assert_array_equal(rows(data), IMAGES)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (IMAGES.astype(str), "the model wants 'x' float32 [N, 3]"),
        (IMAGES[:, :2], "is float32 [10, 2], the model wants"),
        (IMAGES[None], "is float32 [1, 10, 3], the model wants"),
        (np.where(IMAGES == 4, np.nan, IMAGES), "holds NaN or infinity"),
        (np.where(IMAGES == 4, np.inf, IMAGES), "holds NaN or infinity"),
    ],
)
def test_unfit_arrays(array: np.ndarray, message: str) -> None:
    with pytest.raises(DataError) as caught:
        list(load_data({"x": array}, model()).batches(4))
    assert message in str(caught.value)


def test_two_inputs_need_names_or_order() -> None:
    two = model(more=", float[N, 3] mask")
    data = load_data([(IMAGES, IMAGES + 1)], two)
    np.testing.assert_array_equal(next(data.batches(10)).feeds["mask"], IMAGES + 1)
    with pytest.raises(DataError, match="has no array for input 'mask'"):
        list(load_data({"x": IMAGES}, two).batches(4))
    with pytest.raises(DataError, match="a sample has 1 arrays, the model 2 inputs"):
        list(load_data([IMAGES], two).batches(4))
    with pytest.raises(DataError, match=r"differ in their number of samples \(x: 10, mask: 9\)"):
        list(load_data({"x": IMAGES, "mask": IMAGES[1:]}, two).batches(4))


def test_synthetic_values_respect_types_and_ranges() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (int64[N, T] ids, int64[N, T] attention_mask, float[N, 4] x) => (float[N, T, 2] out, float[N, 4] y)
    <float[11, 2] table = {0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21}> {
      out = Gather(table, ids)
      cast = Cast<to = 1>(attention_mask)
      sum = ReduceSum<keepdims = 1>(cast)
      y = Add(x, sum)
    }"""
    loaded = load(onnx.parser.parse_model(text))
    shapes = {"ids": (1, 6), "attention_mask": (1, 6)}
    feeds = synthetic(loaded, 0, 50, shapes, {"x": (-2.0, -1.0)}).first(50)
    assert feeds["ids"].shape == (50, 6)
    assert (feeds["ids"].min(), feeds["ids"].max()) == (0, 10)
    assert set(np.unique(feeds["attention_mask"])) == {1}
    assert -2 <= feeds["x"].min() <= feeds["x"].max() <= -1
    again = synthetic(loaded, 0, 50, shapes, {"x": (-2.0, -1.0)}).first(50)
    np.testing.assert_array_equal(feeds["x"], again["x"])
    with pytest.raises(DataError, match=r"axis 1 of input 'ids' is free \(T\); give --input-shapes ids:SIZES"):
        synthetic(loaded, 0, 1, {}, {})
