"""The texts of ``language_models.py`` as token ids: WikiText-2 to calibrate and to judge on, and this project's docs.

Each is an array ``name`` int64 [chunks, 512] in one .npz file; no special tokens are put around a chunk.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from cifar import shared_folder

TOKENS = 512
CALIBRATION, TEST, DOCS = "calibration", "wikitext2", "docs"
CHUNKS = {CALIBRATION: 64, TEST: 24, DOCS: 12}
_ROOT = Path(__file__).parent.parent.parent


def prepared(tokenizer: Path, path: Path) -> Path:
    """The file ``path``, made if need be with this tokenizer.json: 32,768 tokens spread over the valid part, the first
    12,288 of the test part, and the first 6,144 of the
    project's own docs, as they are when the file is made.
    """
    if path.exists():
        return path
    wikitext = shared_folder() / "data" / "wikitext2"
    docs = [_ROOT / "README.md", _ROOT / "CONTRIBUTING.md", *sorted((_ROOT / "docs").glob("*.md"))]
    arrays = {
        CALIBRATION: _spread(_chunks(tokenizer, training_text().read_text(encoding="utf-8")), CALIBRATION),
        TEST: _chunks(tokenizer, (wikitext / "test.txt").read_text(encoding="utf-8"))[: CHUNKS[TEST]],
        DOCS: _chunks(tokenizer, "\n".join(doc.read_text(encoding="utf-8") for doc in docs))[: CHUNKS[DOCS]],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def training_text() -> Path:
    """The part that calibrates, all of it."""
    path: Path = shared_folder() / "data" / "wikitext2" / "valid.txt"
    return path


def _chunks(tokenizer: Path, text: str) -> np.ndarray:
    """All whole chunks of a text, in order."""
    from tokenizers import Tokenizer

    ids = np.array(Tokenizer.from_file(str(tokenizer)).encode(text, add_special_tokens=False).ids, np.int64)
    return ids[: len(ids) // TOKENS * TOKENS].reshape(-1, TOKENS)


def _spread(chunks: np.ndarray, name: str) -> np.ndarray:
    found: np.ndarray = chunks[np.linspace(0, len(chunks) - 1, CHUNKS[name]).round().astype(int)]
    return found
