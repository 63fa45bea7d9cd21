"""Exports kept on disk: by whoever made them first, for every later run with the same exporters and networks."""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

import graphprune.torch_bridge.export
from tests.zoo.entry import Exporter
from tests.zoo.export import export

_MADE_BY = ("torch", "transformers", "onnx", "onnxscript", "onnx-ir", "numpy")


def kept(name: str, exporter: Exporter, folder: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """As ``export``, from ``folder`` where it is there already;
    exports of other versions or sources are thrown away.
    """
    mine = folder / _key()
    for other in set(folder.iterdir()) - {mine}:
        shutil.rmtree(other, ignore_errors=True)
    mine.mkdir(exist_ok=True)
    place = mine / f"{name}-{exporter}"
    if not place.exists():
        made = Path(tempfile.mkdtemp(dir=mine))
        try:
            _, feed = export(name, exporter, made)
            np.savez(made / "feed.npz", **feed)  # type: ignore[arg-type]
            made.rename(place)  # whole or not at all: other processes look for it
        except OSError:
            if not place.exists():  # else they were faster
                raise
        finally:
            shutil.rmtree(made, ignore_errors=True)
    with np.load(place / "feed.npz") as feeds:
        return place / f"{name}-{exporter}.onnx", {key: feeds[key] for key in feeds.files}


@cache
def _key() -> str:
    """What an export depends on."""
    sources = [path for path in sorted(Path(__file__).parent.glob("*.py")) if not path.name.startswith("test_")]
    content = [path.read_bytes() for path in (*sources, Path(graphprune.torch_bridge.export.__file__))]
    return sha256(b"\0".join([*map(_version, _MADE_BY), *content])).hexdigest()[:16]


def _version(package: str) -> bytes:
    try:
        return version(package).encode()
    except PackageNotFoundError:
        return b""
