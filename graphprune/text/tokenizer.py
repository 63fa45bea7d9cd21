"""The tokenizer of a model: where it lies, what it puts around a text, and how long a text the model takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphprune.base import extras
from graphprune.errors import DataError

FILE_NAME = "tokenizer.json"
_LENGTHS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "context_length", "model_max_length")
_CONFIGS = ("config.json", "genai_config.json", "tokenizer_config.json")
_MOST_TOKENS = 10_000_000  # "no limit" is written as a number far larger


@dataclass(frozen=True)
class TextTokenizer:
    """``prefix`` and ``suffix`` are the special tokens put around every text; ``context_tokens`` is what the files
    beside the tokenizer say that the model takes, None where they say nothing.
    """

    path: Path
    encoder: Any
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    context_tokens: int | None


def find_tokenizer(given: Path | None, model_folder: Path | None) -> Path:
    """The tokenizer.json that is ``given``, or that lies beside the model or in the folder above one named onnx.

    Raises
    ------
    DataError
        There is none.
    """
    if given is not None:
        path = given / FILE_NAME if given.is_dir() else given
        if not path.is_file():
            raise DataError(f"there is no tokenizer {path}", "give a tokenizer.json, or a folder that holds one")
        return path
    folders = [] if model_folder is None else [model_folder]
    folders += [folder.resolve().parent for folder in folders if folder.resolve().name == "onnx"]
    for folder in folders:
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
    where = (
        f"the folder of the model, {model_folder}, holds no {FILE_NAME}" if folders else "the model lies in no folder"
    )
    raise DataError(f"text needs a tokenizer, and {where}", "give --tokenizer FOLDER, or token ids as .npz")


def load_tokenizer(path: Path) -> TextTokenizer:
    """Read a tokenizer.json.

    Raises
    ------
    RuntimeMissing
        The package tokenizers is not installed.
    DataError
        It cannot read the file.
    """
    tokenizers = extras.tokenizers()
    try:
        encoder = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the package raises nothing narrower
        raise DataError(f"{path} cannot be read as a tokenizer: {error}", "give another --tokenizer") from None
    encoder.no_truncation()
    encoder.no_padding()
    around = encoder.encode("a").ids
    bare = encoder.encode("a", add_special_tokens=False).ids
    start = next((at for at in range(len(around)) if around[at : at + len(bare)] == bare), 0)
    prefix, suffix = tuple(around[:start]), tuple(around[start + len(bare) :])
    return TextTokenizer(path, encoder, prefix, suffix, _context(path.parent))


def _context(folder: Path) -> int | None:
    """The smallest number of tokens that a configuration in the folder names."""
    return min((size for name in _CONFIGS for size in _lengths(folder / name)), default=None)


def _lengths(path: Path) -> Iterator[int]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    parts = [content, content.get("model"), content.get("text_config")] if isinstance(content, dict) else []
    for part in parts:
        found = [part.get(name) for name in _LENGTHS] if isinstance(part, dict) else []
        yield from (size for size in found if isinstance(size, int) and 0 < size < _MOST_TOKENS)
