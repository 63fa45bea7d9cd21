"""Sentences and running text of WikiText-2 from the shared data folder, as it was before it was cut into tokens.

python tools/figures/wikitext.py       # prints ten sentences of the test part
"""

from __future__ import annotations

import itertools
import re
from typing import Literal

from cifar import shared_folder

Part = Literal["valid", "test"]

_LEAST_WORDS, _MOST_WORDS = 6, 40


def paragraphs(part: Part) -> list[str]:
    """Without headings."""
    lines = (shared_folder() / "data" / "wikitext2" / f"{part}.txt").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.strip().startswith("=")]


def sentences(part: Part) -> list[str]:
    """Those of 6 to 40 words without a missing one, in order, each once."""
    found = itertools.chain.from_iterable(
        re.split(r"(?<= [.?!]) (?=[A-Z])", paragraph) for paragraph in paragraphs(part)
    )
    whole = (text for text in found if "<unk>" not in text and _LEAST_WORDS <= len(text.split()) <= _MOST_WORDS)
    return list(dict.fromkeys(plain(text) for text in whole))


def running_text(part: Part) -> str:
    """Everything, in order; what stands for missing words stays."""
    return "\n".join(plain(paragraph) for paragraph in paragraphs(part))


def plain(text: str) -> str:
    """Spaces as people write them."""
    text = re.sub(r" @(.)@ ", r"\1", text)
    text = re.sub(r" ([.,;:?!)\]'%])", r"\1", re.sub(r"([(\[$]) ", r"\1", text))
    return re.sub(r'" ([^"]*?) "', r'"\1"', text)


if __name__ == "__main__":
    print("\n".join(sentences("test")[:10]))
