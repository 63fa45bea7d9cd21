"""Tokenizers and texts to try with: a byte-level BPE trained on the text itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

_WORDS = [
    "the",
    "a",
    "Kern",
    "prunes",
    "naïve",
    "layers",
    "1999",
    "graphs",
    "—",
    "long",
    "tails",
    ",",
    "é",
    "漢字",
    "🙂",
]


def words(count: int, seed: int = 0) -> str:
    """Lines of words by chance, some empty, as running text has them."""
    drawn = np.random.default_rng(seed).integers(0, len(_WORDS) + 3, count)
    return "".join(" \n" if index >= len(_WORDS) else f"{_WORDS[index]} " for index in drawn)


def write_tokenizer(folder: Path, *, around: str = "", vocabulary: int = 300) -> Path:
    """tokenizer.json of at most ``vocabulary`` ids; ``around`` is a template with $A, ``[BOS] $A`` say."""
    tokenizers: Any = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["[BOS]", "[SEP]"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([words(2_000)], trainer)
    if around:
        tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
            single=around, special_tokens=[("[BOS]", 0), ("[SEP]", 1)]
        )
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"
