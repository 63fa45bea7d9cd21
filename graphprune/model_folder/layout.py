"""Which file of a folder is the network, and which of the others go along with a smaller one.

The folders are those of onnxruntime-genai's builder (``genai_config.json`` names the file), of optimum (``model.onnx``)
and of transformers.js (``onnx/model.onnx``, with the same network in other precisions beside it).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeGuard

from graphprune.errors import ModelError
from graphprune.model_folder.json_file import entry, read_object

GENAI_CONFIG, CONFIG = "genai_config.json", "config.json"
_USUAL = ("model.onnx", "onnx/model.onnx")
_SKIPPED_FOLDERS = {".git", ".cache"}
_OTHER_WEIGHTS = re.compile(
    r".*\.(safetensors|safetensors\.index\.json|gguf|ort|h5|msgpack|pt|pth|ckpt|ot)"
    r"|(pytorch_)?model.*\.bin(\.index\.json)?|openvino_.*\.(xml|bin)"
)
"""The unpruned network in the formats of other tools."""


@dataclass(frozen=True)
class ModelFolder:
    """A folder with a network in it; ``model`` is the network's file, relative to ``path``, with slashes."""

    path: Path
    model: str

    @property
    def model_file(self) -> Path:
        return self.path / self.model


@dataclass(frozen=True)
class Members:
    """Files of a folder but the network itself, relative to it, with slashes: to be copied, and left out."""

    copied: tuple[str, ...]
    left_out: tuple[str, ...]


def is_folder(source: object) -> TypeGuard[str | os.PathLike[str]]:
    """Whether a source is the path of a folder."""
    return isinstance(source, str | os.PathLike) and os.path.isdir(source)  # noqa: PTH112 - Path raises where a name is too long


def find(path: Path) -> ModelFolder:
    """The folder at ``path``.

    Raises
    ------
    ModelError
        No file of it is the network, or several may be; or the file lies outside.
    """
    named = _named_by_genai(path)
    if named is not None:
        model = named
    elif usual := [name for name in _USUAL if (path / name).is_file()]:
        model = usual[0]
    else:
        found = sorted(
            file.relative_to(path).as_posix() for part in ("", "onnx") for file in (path / part).glob("*.onnx")
        )
        if len(found) != 1:
            what = f"has several models ({', '.join(found)})" if found else "holds no .onnx file"
            raise ModelError(f"the folder {path} {what}", "name the model's file itself")
        model = found[0]
    inside(path, model)
    return ModelFolder(path, model)


def model_file(source: Path) -> Path:
    """The network's file: in a folder the one that is found there. ModelError as for :func:`find`."""
    return find(source).model_file if is_folder(source) else source


def inside(path: Path, name: str) -> Path:
    """The file ``name`` of the folder ``path``.

    Raises
    ------
    ModelError
        It lies outside, be it by its name or by a link, or there is no such file.
    """
    pure = PurePosixPath(name)
    if pure.is_absolute() or Path(name).is_absolute() or ".." in pure.parts or "\\" in name or "\0" in name:
        raise ModelError(f"'{name}' is no file inside the folder {path}", "name files relative to the folder")
    file = path / name
    if not file.resolve().is_relative_to(path.resolve()):
        raise ModelError(f"{file} is a link out of its folder", "give a copy without links (cp -rL makes one)")
    if not file.is_file():
        raise ModelError(f"there is no file {file}", "the folder is incomplete: make or copy it again")
    return file


def members(folder: ModelFolder, own_files: tuple[Path, ...]) -> Members:
    """The files beside the network; ``own_files`` are the network and its external data.

    Raises
    ------
    ModelError
        One of them is a link out of the folder, or no regular file.
    """
    own = {file.resolve() for file in own_files} | {folder.model_file.resolve()}
    everything = sorted(_walk(folder.path))
    stale = [
        name for name in everything if _is_variant(name, folder.model) or _OTHER_WEIGHTS.fullmatch(Path(name).name)
    ]
    wanted = _named_files(folder.path)
    stale_data = tuple(name for name in stale if name not in wanted)
    copied: list[str] = []
    left_out: list[str] = []
    for name in everything:
        if (folder.path / name).resolve() in own:
            continue
        is_stale = name in stale_data or any(name.startswith((f"{other}.", f"{other}_")) for other in stale_data)
        (left_out if is_stale else copied).append(name)
    for name in copied:
        inside(folder.path, name)
    return Members(tuple(copied), tuple(left_out))


def without_networks(path: Path) -> list[str]:
    """The files of a folder that hold no weights, relative to it, with slashes."""
    everything = sorted(_walk(path))
    models = [name for name in everything if name.endswith(".onnx")]
    beside = tuple(f"{name}{mark}" for name in models for mark in (".", "_"))
    return [
        name
        for name in everything
        if name not in models and not name.startswith(beside) and not _OTHER_WEIGHTS.fullmatch(Path(name).name)
    ]


def _walk(path: Path) -> Iterator[str]:
    for here, folders, files in os.walk(path):
        folders[:] = [name for name in folders if name not in _SKIPPED_FOLDERS]
        for name in (*files, *(name for name in folders if (Path(here) / name).is_symlink())):
            yield (Path(here) / name).relative_to(path).as_posix()


def _is_variant(name: str, model: str) -> bool:
    """Whether a file is the same network in another precision: ``model_fp16.onnx`` beside ``model.onnx``."""
    file, own = PurePosixPath(name), PurePosixPath(model)
    if file.suffix != ".onnx" or file.parent != own.parent or name == model:
        return False
    return file.stem.startswith(f"{own.stem}_") or own.stem.startswith(f"{file.stem}_")


def _named_by_genai(path: Path) -> str | None:
    """The file that onnxruntime-genai takes for the decoder; None where there is none of its folders."""
    if not (path / GENAI_CONFIG).is_file():
        return None
    config = read_object(inside(path, GENAI_CONFIG))
    name = entry(config, "model", "decoder", "filename")
    if not isinstance(name, str) or not name:
        raise ModelError(
            f"{path / GENAI_CONFIG} names no file at model.decoder.filename", "name the model's file itself"
        )
    return name


def _named_files(path: Path) -> set[str]:
    """Every file that ``genai_config.json`` names: a model of several files needs them all."""
    found: set[str] = set()

    def collect(value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                if key.endswith("filename") and isinstance(inner, str):
                    found.add(inner)
                collect(inner)
        elif isinstance(value, list):
            for inner in value:
                collect(inner)

    if (path / GENAI_CONFIG).is_file():
        collect(read_object(path / GENAI_CONFIG))
    return found
