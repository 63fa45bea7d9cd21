"""Where a run may write: never over what it reads, and nothing is in place before all is well."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platformdirs import user_cache_path

from graphprune.errors import InputError
from graphprune.ir.model import Model

if TYPE_CHECKING:
    pass


@contextmanager
def place(out: Path | None) -> Iterator[Path]:
    """Where to write: beside ``out`` until all is well, or a temporary folder when nothing is to stay."""
    if out is not None:
        with staged(out) as path:
            yield path
    else:
        with tempfile.TemporaryDirectory(prefix="graphprune-") as folder:
            yield Path(folder) / "model.onnx"


def named_output(output: str | os.PathLike[str] | None, model: Path, kind: str) -> Path:
    """The file to write: as named; MODEL.kind.onnx in a folder that is named, or where nothing is beside ``model``."""
    name = f"{model.stem}.{kind}.onnx"
    if output is None:
        return model.with_name(name)
    text = os.fspath(output)
    path = Path(text)
    is_folder = text.endswith(("/", os.sep)) or (path.suffix != ".onnx" and path.is_dir())
    return path / name if is_folder else path


def output_path(output: str | os.PathLike[str] | None, *reads: Any) -> Path | None:
    """The output as a path, refused if it cannot be written or is one of the files that the run reads."""
    if output is None:
        return None
    out = Path(output)
    check_output(out, source_files(*reads))
    if out.exists() and not out.is_file():
        raise InputError(f"the output {out} is not a regular file", "choose another -o")
    return out


def cache_folder() -> Path:
    """``GRAPHPRUNE_CACHE``, or graphprune's folder in the user's cache: for what only saves time."""
    if named := os.environ.get("GRAPHPRUNE_CACHE"):
        return Path(named)
    if shared := os.environ.get("XDG_CACHE_HOME"):  # wherever it is set: platformdirs looks at it on Unix only
        return Path(shared) / "graphprune"
    return user_cache_path("graphprune", appauthor=False)


@contextmanager
def aside(path: Path | None) -> Iterator[Path | None]:
    """Where to write what belongs to the model, until all is well; None where nothing is asked for."""
    if path is None:
        yield None
    else:
        with staged(path) as hidden:
            yield hidden


def source_files(*sources: Any) -> list[Path]:
    """The files behind those sources that are paths; ``script.py:function`` is the script."""
    texts = [os.fspath(source) for source in sources if isinstance(source, str | os.PathLike)]
    return [Path(text.rpartition(":")[0] if ".py:" in text else text) for text in texts]


def spare_weights(out: Path | None, model: Model) -> None:
    """Refuse to write over the data files of the model; only a loaded model tells where they are."""
    if out is not None:
        for path in (out, out.with_name(out.name + ".data")):
            check_output(path, model.files)


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """A hidden folder beside ``path`` to write into; its files move into place only if the block ends well.

    Every rename is atomic, the data file's before the model's, so a reader sees the old model or the new one.
    """
    try:
        stage = Path(tempfile.mkdtemp(prefix=".graphprune-", dir=path.parent))
    except OSError as error:
        raise InputError(f"cannot write into {path.parent}: {error.strerror}", "choose another -o") from None
    try:
        yield stage / path.name
        for file in sorted(stage.iterdir(), key=lambda file: file.name == path.name):
            os.replace(file, path.with_name(file.name))
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def check_output(path: Path, inputs: Iterable[Path]) -> None:
    """Refuse an output path that cannot work, before any work is done.

    Raises
    ------
    InputError
        The folder is missing or read-only, the path is a folder, or it is one of the files being read.
    """
    try:
        if path.is_dir():
            raise InputError(f"the output {path} is a folder", "give -o a file name")
        if not path.parent.is_dir():
            raise InputError(f"the output folder {path.parent} does not exist", "create it first")
        if not os.access(path.parent, os.W_OK):
            raise InputError(f"the output folder {path.parent} is not writable", "choose another -o")
        exists = path.exists()
    except OSError as error:
        raise InputError(f"the output {path} cannot be used: {error.strerror}", "choose another -o") from None
    for given in inputs:
        if exists and _is_same(path, given):
            raise InputError(
                f"the output {path} is the input file itself, which is never touched", "choose another name for it"
            )


def _is_same(one: Path, other: Path) -> bool:
    """Whether both names mean one file, be it by spelling, symbolic link or hard link."""
    try:
        return one.samefile(other)
    except OSError:
        return False
