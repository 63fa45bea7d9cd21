"""Where samples come from: files read as streams, a user's script, or a random generator."""

from __future__ import annotations

import runpy
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from graphprune.data import npy, onnx_tensors, polygraphy_json
from graphprune.errors import DataError

_CHUNK_BYTES = 16 << 20
DEFAULT_FUNCTION = "load_data"  # Polygraphy's name for it

Chunks = Callable[[], Iterator[Any]]


def from_path(source: str, *, as_rows: bool = True) -> tuple[str, Chunks]:
    """Kind of a path and a function that starts reading it.

    With ``as_rows`` the samples are the rows of all arrays, which are read some rows at a time; else each file is read
    whole, its arrays as they are.

    Raises
    ------
    DataError
        There is nothing at the path, or it is no kind of data graphprune reads.
    """
    script, _, function = source.rpartition(":")
    if script.endswith(".py") or source.endswith(".py"):
        return "script", _script(Path(script or source), function if script.endswith(".py") else DEFAULT_FUNCTION)
    path = Path(source)
    try:
        path.stat()
    except FileNotFoundError:
        raise DataError(f"there is no data file {path}", "check the path") from None
    except OSError as error:
        raise DataError(f"the data {path} cannot be read: {error.strerror}", "check the path") from None
    if path.is_dir():
        return _folder(path, as_rows)
    if path.suffix == ".json":
        return "json", lambda: polygraphy_json.feeds(path)
    if path.suffix not in (".npz", ".npy"):
        raise DataError(
            f"{path.name} is no data graphprune reads",
            "give .npz, .npy, Polygraphy's .json, a folder of them, or script.py:function",
        )
    return path.suffix[1:], lambda: _array_file(path, as_rows)


def _folder(path: Path, as_rows: bool) -> tuple[str, Chunks]:
    """One file per batch, or the sets of tensors that are kept beside models."""
    files = sorted(path.iterdir())
    arrays = [file for file in files if file.suffix in (".npz", ".npy")]
    if arrays:
        return "folder", lambda: (chunk for file in arrays for chunk in _array_file(file, as_rows))
    if sets := onnx_tensors.sets(path):
        return "tensors", lambda: (onnx_tensors.feed(each) for each in sets)
    saved = [file for file in files if file.suffix == ".json"]
    if saved:
        return "json", lambda: (feed for file in saved for feed in polygraphy_json.feeds(file))
    raise DataError(
        f"the folder {path} holds no .npz or .npy file, no test_data_set_*/input_*.pb and no .json of Polygraphy",
        "give one file per batch of samples",
    )


def _array_file(path: Path, as_rows: bool) -> Iterator[Any]:
    try:
        if path.suffix == ".npz":
            yield from _npz(path, as_rows)
        elif not as_rows:
            yield np.load(path, allow_pickle=False)
        else:
            with path.open("rb") as file:
                shape, _, _ = npy.header(file)
            if not shape:
                raise DataError(f"{path.name} holds one number and no sample axis", "save an array of samples")
            array = np.load(path, mmap_mode="r" if 0 not in shape else None, allow_pickle=False)
            rows = _chunk_rows(array.dtype, array.shape)
            for start in range(0, len(array), rows):
                yield np.array(array[start : start + rows])
    except (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path.name} cannot be read as NumPy data: {error}", "save it again with numpy") from None


def _npz(path: Path, as_rows: bool) -> Iterator[dict[str, np.ndarray]]:
    """Read the members of an .npz side by side, some rows at a time; np.load would read each one whole."""
    with zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if name.endswith(".npy")]
        files = {name[:-4]: archive.open(name) for name in members}
        headers = {name: npy.header(file) for name, file in files.items()}
        if not headers:
            raise DataError(f"{path.name} holds no arrays", "save it with numpy.savez")
        if not as_rows:
            yield {name: npy.whole(files[name], *headers[name], path.name) for name in files}
            return
        scalars = [name for name, (shape, _, _) in headers.items() if not shape]
        if scalars:
            raise DataError(f"array '{scalars[0]}' of {path.name} has no sample axis", "drop it or give it one")
        counts = {name: shape[0] for name, (shape, _, _) in headers.items()}
        if len(set(counts.values())) > 1:
            text = ", ".join(f"{name}: {count}" for name, count in counts.items())
            raise DataError(f"the arrays of {path.name} differ in their number of samples ({text})", "align them")
        total = next(iter(counts.values()))
        rows = min(_chunk_rows(dtype, shape) for shape, _, dtype in headers.values())
        for start in range(0, total, rows):
            take = min(rows, total - start)
            yield {name: npy.rows(files[name], take, *headers[name], path.name) for name in files}


def _chunk_rows(dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    return max(1, _CHUNK_BYTES // max(1, dtype.itemsize * int(np.prod(shape[1:], dtype=np.int64))))


def user_function(script: str, name: str, what: str = "data script") -> Callable[..., Any]:
    """A function of a script of the user's, which is run to find it.

    Raises
    ------
    DataError
        There is no such script or function, or the script fails.
    """
    path = Path(script)
    if not path.is_file():
        raise DataError(f"there is no {what} {path}", "check the path")
    sys.path.insert(0, str(path.parent))  # for what it imports, as when Python or Polygraphy runs it
    try:
        entry = runpy.run_path(str(path)).get(name)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code may raise anything
        raise DataError(f"{path.name} failed: {one_line(error)}", "fix the script") from None
    finally:
        with suppress(ValueError):  # the script may have done so itself
            sys.path.remove(str(path.parent))
    if not callable(entry):
        raise DataError(f"{path.name} defines no function '{name}'", f"write it as {path.name}:NAME")
    found: Callable[..., Any] = entry
    return found


def _script(path: Path, function: str) -> Chunks:
    if not path.is_file():
        raise DataError(f"there is no data script {path}", "check the path")

    def run() -> Iterator[Any]:
        entry = user_function(str(path), function)
        try:
            made = entry()
            yield from iter(made.get_next, None) if hasattr(made, "get_next") else _items(made)
        except DataError:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code may raise anything
            raise DataError(f"{path.name}:{function} failed: {one_line(error)}", "fix it") from None

    return run


def one_line(error: BaseException) -> str:
    """What an exception of the user's code says, in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _items(made: Any) -> Iterator[Any]:
    return iter([made]) if is_one_item(made) else iter(made)


def is_one_item(made: Any) -> bool:
    """Whether this is samples as they are (a mapping, an array,
    a tuple of arrays) rather than something that yields them.
    """
    if isinstance(made, tuple):
        return bool(made) and all(_is_array(part) for part in made)
    return isinstance(made, Mapping) or _is_array(made)


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or hasattr(value, "detach")


def as_array(values: Any) -> np.ndarray:
    """A NumPy array of any array, of nested lists or of a torch tensor on any device; torch itself is not imported."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    return np.asarray(values)


def pieces(arrays: dict[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """The same samples in views of some MiB, so that an array mapped from a file is never read whole."""
    counts = {len(array) if array.ndim else 0 for array in arrays.values()}
    total = counts.pop() if len(counts) == 1 else 0
    rows = min((_chunk_rows(array.dtype, array.shape) for array in arrays.values()), default=1)
    if total <= rows:
        yield arrays  # with different row counts too: whoever reads it says so
        return
    for start in range(0, total, rows):
        yield {name: array[start : start + rows] for name, array in arrays.items()}
