"""Measured worths kept on disk: what took minutes for one target serves for every other."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from graphprune.base.atomic_file import write_whole
from graphprune.pass_infra.context import Context
from graphprune.repair.worth import SHARES, Part, Worth, worths

_SCHEMA = "graphprune.worth/1"


class _Content(msgspec.Struct):
    schema: str
    worths: list[Worth]


def measured_worths(context: Context, parts: Sequence[Part], samples: int) -> tuple[list[Worth], tuple[str, ...]]:
    """The worth of each of ``parts``, from the cache if they have been measured on these samples, and notes.

    Of a network that earlier passes have changed, nothing is kept.
    """
    execution = context.execution
    folder = context.widths.cache_dir if not context.history.removals else None
    path = None if folder is None else folder / "worth" / f"{_key(context, parts, samples)}.json"
    found = _read(path, parts) if path is not None else None
    if found is not None:
        return found, ("what blocks are worth was measured before: it comes from the cache",)
    progress = partial(execution.progress, "allocate: weighing blocks")
    found = worths(context.model, parts, context.data, samples, execution.runtime, progress)
    if path is not None:
        with contextlib.suppress(OSError):  # a cache that cannot be written is no reason to stop
            write_whole(path, msgspec.json.encode(_Content(_SCHEMA, found)))
    return found, ()


def _key(context: Context, parts: Sequence[Part], samples: int) -> str:
    """Of all that the figures depend on: the file, the samples themselves, and what was tried."""
    hashed = hashlib.sha256()
    tried = [(part.block.join, part.read.group.name if part.read else "") for part in parts]
    hashed.update(repr((_SCHEMA, context.model.sha256, tried, samples, SHARES)).encode())
    for batch in context.data.batches(1):
        for name, array in sorted(batch.feeds.items()):
            hashed.update(f"{name} {array.dtype} {array.shape}".encode())
            hashed.update(np.ascontiguousarray(array).tobytes())
    return hashed.hexdigest()[:24]


def _read(path: Path, parts: Sequence[Part]) -> list[Worth] | None:
    """What is in the file; None where it is not of this kind, or of other blocks."""
    try:
        content = msgspec.json.decode(path.read_bytes(), type=_Content)
    except (OSError, msgspec.DecodeError):
        return None
    if content.schema != _SCHEMA or [each.join for each in content.worths] != [part.block.join for part in parts]:
        return None
    return content.worths
