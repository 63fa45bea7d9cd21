"""Measured times kept on disk, by machine, runtime, provider, threads, batch and model; plain JSON, written atomically.

A file that cannot be read, or holds anything but times, is ignored with a note;
one that cannot be written is no reason to stop.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graphprune.base.atomic_file import write_whole

SCHEMA = "graphprune.latency/1"


class Cache:
    """Signature -> milliseconds. ``key`` is everything that the times hold for; ``folder`` None keeps nothing."""

    def __init__(self, folder: Path | None, key: Mapping[str, Any]) -> None:
        self.key = dict(key)
        self.notes: list[str] = []
        self.times_ms: dict[str, float] = {}
        self.path: Path | None = None
        if folder is not None:
            name = hashlib.sha256(json.dumps(self.key, sort_keys=True).encode()).hexdigest()[:24]
            self.path = folder / "latency" / f"{name}.json"
            self.times_ms = self._read()

    def _read(self) -> dict[str, float]:
        if self.path is None or not self.path.exists():
            return {}
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            if content["schema"] != SCHEMA or content["key"] != self.key:
                raise ValueError("it is for something else")
            times = {str(name): float(value) for name, value in content["times_ms"].items()}
            if not all(math.isfinite(value) and value > 0 for value in times.values()):
                raise ValueError("a time is no positive number")
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            self.notes.append(f"the cached times in {self.path} cannot be used ({error}); they were measured again")
            return {}
        return times

    def save(self) -> None:
        """Move a complete file into place, or leave a note."""
        if self.path is None:
            return
        content = {"schema": SCHEMA, "key": self.key, "times_ms": self.times_ms}
        try:
            write_whole(self.path, json.dumps(content).encode())
        except OSError as error:
            self.notes.append(f"the measured times cannot be kept in {self.path}: {error.strerror}")
