"""Where the decoder of a folder lies, and what the files beside it say of its cache."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphprune.errors import ModelError
from graphprune.model_folder.layout import inside

_CONFIGS = ("genai_config.json", "config.json")
_FILES = ("model.onnx", "onnx/model.onnx", "decoder_model_merged.onnx")


@dataclass(frozen=True)
class DecoderSource:
    """``path`` is the model file; ``genai_folder`` is given where onnxruntime-genai can load it.

    ``context`` is the most tokens it was made for, ``head_size`` that of its keys; None where no file says it.
    ``is_shared`` tells that past and present may be one buffer.
    """

    path: Path
    genai_folder: Path | None = None
    context: int | None = None
    head_size: int | None = None
    is_shared: bool = False


def decoder_source(path: Path) -> DecoderSource:
    """The decoder that a file is or a folder holds, as onnxruntime-genai's builder, optimum or transformers.js lay it.

    Raises
    ------
    ModelError
        There is nothing of that name, no model in the folder or one outside it, or a configuration that is no JSON.
    """
    if not path.exists():
        raise ModelError(f"there is no file or folder {path}", "check the path of the model")
    if not path.is_dir():
        return DecoderSource(path)
    texts = {name: path / name for name in _CONFIGS if (path / name).is_file()}
    configs = {name: _read(file) for name, file in texts.items()}
    genai = configs.get("genai_config.json", {})
    model, search = _part(genai, "model"), _part(genai, "search")
    decoder, config = _part(model, "decoder"), configs.get("config.json", {})
    names = (str(decoder["filename"]),) if "filename" in decoder else _FILES
    name = next((name for name in names if (path / name).is_file()), None)
    if name is None:
        raise ModelError(f"there is no {' or '.join(names)} in {path}", "give the model file itself")
    return DecoderSource(
        inside(path, name),
        genai_folder=path if decoder else None,
        context=_number(model.get("context_length", config.get("max_position_embeddings"))),
        head_size=_number(decoder.get("head_size", config.get("head_dim"))),
        is_shared=search.get("past_present_share_buffer") is True,
    )


def _read(file: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} cannot be read: {error}", "copy it again from where the model comes from") from None
    return content if isinstance(content, dict) else {}


def _part(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = content.get(name, {})
    return part if isinstance(part, dict) else {}


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None
