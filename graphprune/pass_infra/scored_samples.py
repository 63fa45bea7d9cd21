"""On how many samples blocks are scored: of a text fewer will do than a repair wants, and reading it is dear."""

from __future__ import annotations

from dataclasses import replace

from graphprune.decoder.interface import decoder_interface
from graphprune.pass_infra.context import Context

_TOKENS = 8_192  # every removal reads them again, for each candidate behind it


def on_few(context: Context, samples: int | None) -> tuple[Context, list[str]]:
    """``context`` with the first ``samples``, in a decoder by default with a part of the text; a note tells of it."""
    count = text_samples(context) if samples is None else samples
    if count is None:
        return context, []
    note = f"blocks were scored on the first {count:,} samples at most"
    return replace(context, data=context.data.at_most(count)), [note]


def text_samples(context: Context) -> int | None:
    """How many samples make 8,192 tokens; None where they are none of a decoder."""
    tokens = context.data.tokens
    if tokens is None or decoder_interface(context.model) is None:
        return None
    length: int = context.data.first()[tokens.ids].shape[-1]
    return -(-_TOKENS // length)
