"""Pictures of named data sets: of Hugging Face's ``datasets`` and of torchvision, and what is refused."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from graphprune.data.dataset import load_data
from graphprune.data.image_options import ImageOptions
from graphprune.errors import DataError, RuntimeMissing
from tests.data.test_images import flat, model, picture, samples


def first(source: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Pixels of 0..255, one of each sample, and labels."""
    (part,) = load_data(source, model()).batches(64)
    return np.round(part.feeds["x"][:, 0, 0, 0] * 255).astype(int), part.labels


class Picture:
    """The column type of the stand-in for ``datasets``."""


class Rows:
    """Three rows of a data set of ``datasets``, in memory."""

    def __init__(self, columns: dict[str, list[Any]], features: dict[str, Any]) -> None:
        self.columns, self.features = columns, features

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: values[index] for name, values in self.columns.items()}

    def select_columns(self, names: list[str]) -> Rows:
        return Rows({name: self.columns[name] for name in names}, self.features)


def stand_in(monkeypatch: pytest.MonkeyPatch, features: dict[str, Any], label: int = 7) -> list[Any]:
    """``datasets`` with one data set; what it was asked for."""
    from PIL import Image

    asked: list[Any] = []
    shown = [Image.fromarray(flat(10 * index)) for index in range(3)]
    columns: dict[str, list[Any]] = {"image": shown, "label": [label] * 3, "mask": [None] * 3, "text": ["a"] * 3}

    def load_dataset(name: str, config: str | None, split: str) -> Rows:
        asked.append((name, config, split))
        if name == "none":
            raise FileNotFoundError("no such data set\nmore")
        return Rows(columns, features)

    module = SimpleNamespace(load_dataset=load_dataset, Image=Picture, ClassLabel=type("ClassLabel", (), {}))
    monkeypatch.setattr("graphprune.base.extras.datasets", lambda _: module)
    return asked


def test_a_data_set_has_a_column_of_pictures_and_may_have_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    features = {"mask": Picture(), "image": Picture(), "label": SimpleNamespace(dtype="int64")}
    asked = stand_in(monkeypatch, features)
    shown, labels = first("hf:org/name:config:test")
    assert sorted(shown) == [0, 10, 20] and labels is not None and list(labels) == [7, 7, 7]
    first("hf:name")
    assert asked == [("org/name", "config", "test"), ("name", None, "train")]
    stand_in(monkeypatch, features, label=-1)  # as test sets have it whose labels are secret
    assert first("hf:name")[1] is None


def test_a_data_set_without_pictures_or_of_no_such_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, {"text": SimpleNamespace(dtype="string"), "label": SimpleNamespace(dtype="int64")})
    with pytest.raises(DataError, match=r"hf:wiki has no column of pictures; it holds text, label.*dataset:NAME"):
        first("hf:wiki")
    with pytest.raises(DataError, match="the data set hf:none cannot be loaded: no such data set;"):
        first("hf:none")
    with pytest.raises(DataError, match="hf: names no data set"):
        first("hf:")


@pytest.mark.parametrize(
    ("source", "package", "extra"),
    [("hf:name", "datasets", "images,text"), ("torchvision:CIFAR10@data", "torchvision.datasets", "torchvision")],
)
def test_the_pip_line_is_named(source: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(RuntimeMissing) as caught:
        first(source)
    assert f"graphprune[{extra}]" in caught.value.fix


def test_a_folder_and_a_file_are_read_by_datasets_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for number, name in enumerate(("cat", "dog")):
        for index in range(3):
            picture(tmp_path / "train" / name / f"{index}.png", flat(50 * number + index))
    shown, labels = first(f"hf:{tmp_path / 'train'}")
    assert labels is not None and len(shown) == 6
    np.testing.assert_array_equal(shown // 50, labels)
    content = (tmp_path / "train" / "dog" / "1.png").read_bytes()
    parquet, arrow = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    plain = arrow.table({"image": [{"bytes": content, "path": None}] * 2, "label": [3, 4]})
    parquet.write_table(plain, tmp_path / "a.parquet")
    shown, labels = first(f"hf:{tmp_path / 'a.parquet'}")
    assert list(shown) == [51, 51] and labels is not None and sorted(labels) == [3, 4]
    with pytest.raises(DataError, match="cannot be loaded"):
        first(f"hf:{tmp_path / 'train'}:nowhere")


def cifar(folder: Path) -> None:
    """Three pictures as CIFAR-10 has them on the disk, for a torchvision that checks no sums."""
    base = folder / "cifar-10-batches-py"
    base.mkdir()
    for name, first_value in (("one", 0), ("two", 90)):
        shown = np.stack([np.full((3, 32, 32), first_value + 10 * index, np.uint8) for index in range(3)])
        (base / name).write_bytes(pickle.dumps({"data": shown.reshape(3, -1), "labels": [0, 1, 2]}))
    (base / "batches.meta").write_bytes(pickle.dumps({"label_names": ["a", "b", "c"]}))


def test_torchvision_reads_what_lies_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = pytest.importorskip("torchvision.datasets")
    cifar(tmp_path)
    for split, name in (("train_list", "one"), ("test_list", "two")):
        monkeypatch.setattr(kinds.CIFAR10, split, [[name, None]])
    monkeypatch.setattr(kinds.CIFAR10, "meta", kinds.CIFAR10.meta | {"md5": None})
    for split, start in (("", 0), (":test", 90)):
        shown, labels = first(f"torchvision:CIFAR10@{tmp_path}{split}")
        assert labels is not None and sorted(labels) == [0, 1, 2]
        np.testing.assert_array_equal(shown, start + 10 * labels)
    picture(tmp_path / "photos" / "a" / "1.png", flat(7, 16, 16))
    shown = samples(f"torchvision:ImageFolder@{tmp_path / 'photos'}", ImageOptions(mean=(0.0,), std=(0.1,)))
    np.testing.assert_allclose(shown, 10 * 7 / 255, rtol=1e-5)


def test_torchvision_downloads_nothing_and_says_where_files_belong(tmp_path: Path) -> None:
    pytest.importorskip("torchvision.datasets")
    for source, message in (
        (
            f"CIFAR10@{tmp_path}",
            r"cannot be opened: Dataset not found or corrupted\.; nothing is downloaded.*cifar-10-batches-py, ",
        ),
        (f"FashionMNIST@{tmp_path}", "nothing is downloaded.*FashionMNIST/raw, "),
        (f"CIFAR10@{tmp_path}:valid", "CIFAR10 has no split 'valid'"),
        (f"STL10@{tmp_path}:valid", "cannot be opened: Unknown value 'valid'"),
        (f"CIFAR11@{tmp_path}", "torchvision has no data set 'CIFAR11'; did you mean CIFAR10"),
        (f"FakeData@{tmp_path}", "torchvision:FakeData@.* cannot be opened"),
        ("CIFAR10", "does not say where it lies"),
    ):
        with pytest.raises(DataError, match=message):
            first(f"torchvision:{source}")
    assert not list(tmp_path.iterdir())
