"""The state of a training run in one file that is either the old one or the new one, whole, whenever the process dies.

The file is a digest and what torch.save wrote: torch.load checks no checksums, so a flipped bit would go unseen.
Reading admits tensors and plain values only, never pickled code.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tempfile
from pathlib import Path
from typing import IO, Any, cast

from graphprune.errors import InputError

_MAGIC = b"graphprune checkpoint 1\n"
_DIGEST_BYTES = hashlib.sha256().digest_size
_NEXT = "delete it, or give another --checkpoint"


class _HashingWriter:
    """Passes bytes on to a file and hashes them."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint beside ``path``, force it to disk and rename it into place.

    Raises
    ------
    InputError
        The folder is missing, not writable, or full.
    """
    import torch

    name = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(_MAGIC + bytes(_DIGEST_BYTES))
            writer = _HashingWriter(file)
            torch.save(state, cast(IO[bytes], writer))
            file.seek(len(_MAGIC))
            file.write(writer.digest.digest())
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
        name = None
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:  # torch turns a full disk into a RuntimeError
        raise InputError(
            f"the checkpoint {path} cannot be written: {error}", "free space or choose another --checkpoint"
        ) from None
    finally:
        if name is not None:
            Path(name).unlink(missing_ok=True)


def load(path: Path, identity: dict[str, str]) -> dict[str, Any]:
    """The state saved in ``path`` by a run with the same ``identity`` (what it was about -> a text that tells which).

    Raises
    ------
    InputError
        The file cannot be read, is no whole checkpoint, or belongs to another run; the message says what differs.
    """
    import torch

    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"the checkpoint {path} cannot be read: {error.strerror}", _NEXT) from None
    start = len(_MAGIC) + _DIGEST_BYTES
    payload = memoryview(content)[start:]
    if not content.startswith(_MAGIC):
        raise InputError(f"{path} is no checkpoint of this version of graphprune", _NEXT)
    if hashlib.sha256(payload).digest() != content[len(_MAGIC) : start]:
        raise InputError(f"the checkpoint {path} is damaged: its digest does not fit its content", _NEXT)
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"the checkpoint {path} holds something that is never loaded: {reason}", _NEXT) from None
    for what, mine in identity.items():
        if state["identity"].get(what) != mine:
            raise InputError(
                f"the checkpoint {path} belongs to another run: its {what} was {state['identity'].get(what)}, "
                f"this one's is {mine}",
                "repeat that run's command, " + _NEXT,
            )
    return state


def numbered(path: Path, number: int) -> Path:
    """The checkpoint of a run's ``number``-th training, from 0: each has its own."""
    return path.with_name(f"{path.name}.{number + 1}")


def sweep(path: Path) -> None:
    """Remove a checkpoint that has served, and half-written ones that killed runs left beside it."""
    path.unlink(missing_ok=True)
    for left in path.parent.glob(f".{path.name}-*"):
        left.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself last through a power failure; not every file system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
