"""Pictures of data sets that have names: of Hugging Face's ``datasets`` (``hf:NAME``), and of torchvision."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from graphprune.base import extras
from graphprune.base.did_you_mean import meant
from graphprune.data.images import ImageSet
from graphprune.errors import DataError

HF = "hf:"
TORCHVISION = "torchvision:"
_PICTURES = ("image", "img", "picture")
_LABELS = ("label", "labels", "class", "fine_label")
_SPLIT = "train"


def is_image_set(source: Any) -> bool:
    """Whether a source names such a data set."""
    return isinstance(source, str) and source.startswith((HF, TORCHVISION))


def open_image_set(source: str) -> ImageSet:
    """What ``source`` names: ``hf:NAME[:CONFIG][:SPLIT]``, where the name may be a folder or a file of this machine,
    or ``torchvision:CLASS@FOLDER[:SPLIT]``. The split is train unless it is said.

    Raises
    ------
    DataError
        There is no such data set or split, or it has no pictures.
    RuntimeMissing
        The package, or Pillow, is not installed.
    """
    extras.pillow("images")
    if source.startswith(HF):
        return _of_hub(source.removeprefix(HF))
    return _of_torchvision(source.removeprefix(TORCHVISION))


class HubImages:
    """The rows of a data set of Hugging Face, which lie on the disk: a column of pictures, and one of labels."""

    def __init__(self, name: str, rows: Any, label: str | None) -> None:
        self.name, self._rows, self._label = name, rows, label

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> tuple[Any, int | None]:
        """See :class:`~graphprune.data.images.ImageSet`."""
        try:
            row = self._rows[index]
        except (OSError, ValueError, SyntaxError) as error:
            raise DataError(f"row {index} of {self.name} cannot be read: {error}", "take it out") from None
        label = None if self._label is None else row.pop(self._label)
        (picture,) = row.values()
        if picture is None:
            raise DataError(f"row {index} of {self.name} has no picture", "take it out")
        return picture, label


def _of_hub(text: str) -> HubImages:
    library, name = extras.datasets("images,text"), f"{HF}{text}"
    where, rest = _place(text)
    if not where:
        raise DataError(f"{name} names no data set", "write hf:NAME[:CONFIG][:SPLIT], or a folder")
    config, split = rest[0] if len(rest) > 1 else None, rest[-1] if rest else _SPLIT
    try:
        if Path(where).is_file():
            kind = {".jsonl": "json"}.get(Path(where).suffix, Path(where).suffix[1:])
            rows = library.load_dataset(kind, data_files=where, split=split)
        else:
            rows = library.load_dataset(where, config, split=split)
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(
            f"the data set {name} cannot be loaded: {_first_line(error)}", "write hf:NAME[:CONFIG][:SPLIT], or a folder"
        ) from None
    columns = rows.features
    found = [column for column, kind in columns.items() if isinstance(kind, library.Image)]
    plain = [] if found else [column for column in _PICTURES if _is_encoded(columns.get(column))]
    for column in plain[:1]:  # a parquet file that another tool has written
        rows, found = rows.cast_column(column, library.Image()), [column]
    if not found:
        raise DataError(
            f"{name} has no column of pictures; it holds {', '.join(columns)}", "name another; text is dataset:NAME"
        )
    picture = next((column for column in _PICTURES if column in found), found[0])
    classes = [column for column, kind in columns.items() if isinstance(kind, library.ClassLabel)]
    classes += [column for column in _LABELS if "int" in str(getattr(columns.get(column), "dtype", ""))]
    label = next((column for column in _LABELS if column in classes), classes[0] if classes else None)
    rows = rows.select_columns([picture] if label is None else [picture, label])
    if label is not None and (not len(rows) or rows[0][label] is None or rows[0][label] < 0):  # a test set without
        rows, label = rows.select_columns([picture]), None
    return HubImages(name, rows, label)


def _is_encoded(kind: Any) -> bool:
    """Whether a column holds files of pictures as bytes."""
    return "bytes" in kind if isinstance(kind, dict) else "binary" in str(getattr(kind, "dtype", ""))


class TorchvisionImages:
    """A data set of torchvision's; those of pictures in files read them one by one."""

    def __init__(self, name: str, rows: Any) -> None:
        self.name, self._rows = name, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> tuple[Any, int | None]:
        """See :class:`~graphprune.data.images.ImageSet`."""
        try:
            picture, label = self._rows[index]
        except (OSError, ValueError, SyntaxError) as error:
            raise DataError(f"picture {index} of {self.name} cannot be read: {error}", "take it out") from None
        if not hasattr(picture, "convert"):
            raise DataError(f"{self.name} gives no pictures, but {type(picture).__name__}", "name another data set")
        return picture, int(label) if hasattr(label, "__index__") else None


def _of_torchvision(text: str) -> TorchvisionImages:
    library, name = extras.torchvision_datasets(), f"{TORCHVISION}{text}"
    kind_name, _, place = text.partition("@")
    kind = getattr(library, kind_name, library)  # itself no class
    is_known = inspect.isclass(kind) and issubclass(kind, library.VisionDataset) and kind is not library.VisionDataset
    if not is_known:
        raise DataError(
            f"torchvision has no data set '{kind_name}'{meant(kind_name, library.__all__)}",
            "write torchvision:CLASS@FOLDER[:SPLIT], such as torchvision:CIFAR10@data:test",
        )
    if not place:
        raise DataError(f"{name} does not say where it lies", f"write {name}@FOLDER")
    folder, rest = _place(place)
    takes = inspect.signature(kind).parameters
    given: dict[str, Any] = {"download": False} if "download" in takes else {}
    if "train" in takes and rest in ([], ["train"], ["test"]):
        given["train"] = rest != ["test"]
    elif "split" in takes and len(rest) == 1:
        given["split"] = rest[0]
    elif rest:
        raise DataError(f"{kind_name} has no split '{':'.join(rest)}'", "leave it out, or write train or test")
    try:
        return TorchvisionImages(name, kind(root=folder, **given))
    except (OSError, RuntimeError, ValueError, TypeError, ImportError) as error:
        base = getattr(kind, "base_folder", None)
        raw = f"{kind_name}/raw" if hasattr(kind, "raw_folder") else ""
        beneath = Path(folder) / (base if isinstance(base, str) else raw)
        raise DataError(
            f"{name} cannot be opened: {_first_line(error)}",
            f"nothing is downloaded: put its files into {beneath}, where torchvision's download leaves them",
        ) from None


def _place(text: str) -> tuple[str, list[str]]:
    """The longest beginning that is a path here, else all before the first colon; and what stands behind it."""
    parts = text.split(":")
    for count in range(len(parts), 0, -1):
        if Path(":".join(parts[:count])).exists():
            return ":".join(parts[:count]), parts[count:]
    return parts[0], parts[1:]


def _first_line(error: Exception) -> str:
    """Without torchvision's advice for those who call it."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].partition(" You can use download=True")[0]
