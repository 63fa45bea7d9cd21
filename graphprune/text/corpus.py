"""Text as a stream from any place on: plain files, a record a line, datasets of the hub. Nothing is read whole."""

from __future__ import annotations

import codecs
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from graphprune.base import extras
from graphprune.errors import DataError

ENDINGS = (".txt", ".jsonl")
DATASET = "dataset:"
BETWEEN = "\n\n"
"""What is put between two records."""
_PIECE_BYTES = 64 << 10


class Corpus(Protocol):
    """A text of ``size`` units (bytes, or records of a dataset); ``sample_units`` of them show what a unit holds."""

    @property
    def name(self) -> str: ...

    @property
    def sample_units(self) -> int: ...

    @property
    def size(self) -> int: ...

    def read(self, start: int, end: int) -> Iterator[str]:
        """The text of the lines or records that begin in units ``start`` to ``end``, in pieces.

        Raises
        ------
        DataError
            It cannot be read, or a record has no text.
        """
        ...


def is_text(source: Any) -> bool:
    """Whether a source names text."""
    named = os.fspath(source) if isinstance(source, str | os.PathLike) else ""
    return isinstance(named, str) and (named.endswith(ENDINGS) or named.startswith(DATASET))


def open_corpus(source: str, field: str) -> Corpus:
    """The text that ``source`` names: a .txt or .jsonl file, or ``dataset:NAME[:CONFIG][:SPLIT]``.

    Raises
    ------
    DataError
        There is no such file, it is empty, or the dataset cannot be loaded.
    RuntimeMissing
        The package datasets is not installed.
    """
    if source.startswith(DATASET):
        return _dataset(source.removeprefix(DATASET), field)
    path = Path(source)
    if not path.is_file():
        raise DataError(f"there is no data file {path}", "check the path")
    if not path.stat().st_size:
        raise DataError(f"{path.name} is empty", "give text")
    return JsonLines(path, field) if path.suffix == ".jsonl" else TextFile(path)


@dataclass(frozen=True)
class TextFile:
    """A file of UTF-8 text."""

    path: Path
    sample_units: int = _PIECE_BYTES

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def read(self, start: int, end: int) -> Iterator[str]:
        """See :class:`Corpus`."""
        return _lines(self.path, start, end, _PIECE_BYTES)


@dataclass(frozen=True)
class JsonLines:
    """A file with a JSON object a line, the text in ``field``; :data:`BETWEEN` goes between two texts."""

    path: Path
    field: str
    sample_units: int = _PIECE_BYTES

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def read(self, start: int, end: int) -> Iterator[str]:
        """See :class:`Corpus`."""
        for line in _lines(self.path, start, end):
            if line.strip():
                try:
                    record = json.loads(line)
                except ValueError as error:
                    raise DataError(f"a line of {self.name} is no JSON: {error}", "write one object a line") from None
                yield _text(record, self.field, self.name) + BETWEEN


@dataclass(frozen=True)
class Records:
    """A dataset that is read by record numbers."""

    name: str
    rows: Any
    field: str
    sample_units: int = 64

    @property
    def size(self) -> int:
        return len(self.rows)

    def read(self, start: int, end: int) -> Iterator[str]:
        """See :class:`Corpus`."""
        for index in range(start, min(end, self.size)):
            yield _text(self.rows[index], self.field, self.name) + BETWEEN


def _text(record: Any, field: str, name: str) -> str:
    text = record.get(field) if isinstance(record, dict) else None
    if not isinstance(text, str):
        held = ", ".join(map(str, record)) if isinstance(record, dict) else type(record).__name__
        raise DataError(f"a record of {name} has no text '{field}'; it holds {held}", "name it by --text-field")
    return text


def _lines(path: Path, start: int, end: int, longest: int = -1) -> Iterator[str]:
    """The lines that begin in bytes ``start`` to ``end``, in pieces of ``longest`` bytes unless that is negative."""
    decode = codecs.getincrementaldecoder("utf-8")().decode
    try:
        with path.open("rb") as file:
            _go_to_a_line(file, start, longest)
            while file.tell() < end and (line := file.readline(longest)):
                yield decode(line)
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is no UTF-8 text: {error.reason}", "convert it to UTF-8") from None
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror}", "check the file") from None


def _go_to_a_line(file: BinaryIO, start: int, longest: int) -> None:
    """Move to the first line that begins at ``start`` or later; in a line longer than ``longest`` to a character."""
    if start == 0:
        is_marked = file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8
        file.seek(len(codecs.BOM_UTF8) if is_marked else 0)
        return
    file.seek(start - 1)
    if file.readline(longest).endswith(b"\n"):
        return
    here, ahead = file.tell(), file.read(4)
    file.seek(here + next((at for at, byte in enumerate(ahead) if byte & 0xC0 != 0x80), len(ahead)))


def _dataset(text: str, field: str) -> Records:
    """``NAME``, ``NAME:SPLIT`` or ``NAME:CONFIG:SPLIT``; the split is train unless it is said."""
    name, *rest = text.split(":")
    config = rest[0] if len(rest) > 1 else None
    split = rest[-1] if rest else "train"
    try:
        rows = extras.datasets().load_dataset(name, config, split=split)
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(
            f"the dataset {text} cannot be loaded: {str(error).splitlines()[0]}", "write dataset:NAME:CONFIG:SPLIT"
        ) from None
    return Records(f"{DATASET}{text}", rows, field)
