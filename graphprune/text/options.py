"""How text becomes samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TextOptions:
    """``tokenizer`` is a tokenizer.json, or a folder that holds one; None: it lies beside the model.

    ``chunk_tokens`` is the length of a sample (None: 512, or what the model takes if that is less); ``field`` names the
    text in the records of a .jsonl file or of a dataset.
    """

    tokenizer: str | Path | None = None
    chunk_tokens: int | None = None
    field: str = "text"
