"""Token ids of a text that comes in pieces: the ids of the whole text, of which a window is in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

_WINDOW = 16 << 10
_AROUND = 512  # characters read anew before a window, and left for the next one behind it


def token_ids(encoder: Any, pieces: Iterable[str]) -> Iterator[list[int]]:
    """The ids of all pieces joined, window by window, without special tokens.

    Windows overlap, and each gives the tokens that begin where those of the last one end: what a tokenizer makes of a
    word does not depend on text that far away.
    """
    held: list[str] = []
    length = done = 0  # characters held; those of them whose tokens were given
    for piece in pieces:
        held.append(piece)
        length += len(piece)
        if length - done >= _WINDOW:
            text = "".join(held)
            ids, done = _next_ids(encoder, text, done, len(text) - _AROUND)
            yield ids
            kept = max(0, done - _AROUND)
            held, length, done = [text[kept:]], len(text) - kept, done - kept
    text = "".join(held)
    yield _next_ids(encoder, text, done, len(text))[0]


def _next_ids(encoder: Any, text: str, start: int, end: int) -> tuple[list[int], int]:
    """The ids of tokens that lie between characters ``start`` and ``end``, and where the last of them ends."""
    encoding = encoder.encode(text, add_special_tokens=False)
    ids, offsets = encoding.ids, encoding.offsets
    first = next((at for at, (begin, _) in enumerate(offsets) if begin >= start), len(ids))
    last = next((at for at in range(len(ids) - 1, first - 1, -1) if offsets[at][1] <= end), first - 1)
    while first <= last < len(ids) - 1 and offsets[last + 1][0] < offsets[last][1]:
        last -= 1  # several tokens of one character stay together
    if last < first:
        return [], start
    return ids[first : last + 1], offsets[last][1]
