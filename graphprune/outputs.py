"""Where a run may write: never over what it reads, and nothing is in place before all is well."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from graphprune import model as models
from graphprune.errors import InputError
from graphprune.model import Model


@contextmanager
def place(out: Path | None) -> Iterator[Path]:
    """Where to write: beside ``out`` until all is well, or a temporary folder when nothing is to stay."""
    if out is not None:
        with models.staged(out) as staged:
            yield staged
    else:
        with tempfile.TemporaryDirectory(prefix="graphprune-") as folder:
            yield Path(folder) / "model.onnx"


def output_path(output: str | os.PathLike[str] | None, *reads: Any) -> Path | None:
    """The output as a path, refused if it cannot be written or is one of the files that the run reads."""
    if output is None:
        return None
    out = Path(output)
    models.check_output(out, source_files(*reads))
    if out.exists() and not out.is_file():
        raise InputError(f"the output {out} is not a regular file", "choose another -o")
    return out


def cache_folder() -> Path:
    """``GRAPHPRUNE_CACHE``, or graphprune's folder in the user's cache: for what only saves time."""
    if named := os.environ.get("GRAPHPRUNE_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "graphprune"


@contextmanager
def aside(path: Path | None) -> Iterator[Path | None]:
    """Where to write what belongs to the model, until all is well; None where nothing is asked for."""
    if path is None:
        yield None
    else:
        with models.staged(path) as staged:
            yield staged


def source_files(*sources: Any) -> list[Path]:
    """The files behind those sources that are paths; ``script.py:function`` is the script."""
    texts = [os.fspath(source) for source in sources if isinstance(source, str | os.PathLike)]
    return [Path(text.rpartition(":")[0] if ".py:" in text else text) for text in texts]


def spare_weights(out: Path | None, model: Model) -> None:
    """Refuse to write over the data files of the model; only a loaded model tells where they are."""
    if out is not None:
        for path in (out, out.with_name(out.name + ".data")):
            models.check_output(path, model.files)
