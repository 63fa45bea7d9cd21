"""A decoder that is fed what was made for another one: ids and mask are theirs, the empty cache is its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphprune.data.batching import Arrays
from graphprune.errors import DataError
from graphprune.text.inputs import TokenInputs


@dataclass(frozen=True)
class OwnCache:
    """A runtime's session of a decoder, which takes the feeds of another; ``theirs`` are the names of that one's cache.

    Decoders with other layers or heads have other caches, but read the same text.
    """

    session: Any
    inputs: TokenInputs
    theirs: frozenset[str]

    def get_inputs(self) -> list[Any]:
        """As the session has them."""
        return list(self.session.get_inputs())

    def get_outputs(self) -> list[Any]:
        """As the session has them."""
        return list(self.session.get_outputs())

    def run(self, outputs: Sequence[str] | None, feeds: Arrays) -> list[Any]:
        """Run with a cache of its own.

        Raises
        ------
        DataError
            The cache that was given holds something.
        """
        decoder = self.inputs.decoder
        own = {tensor.past for tensor in decoder.cache} if decoder is not None else set()
        if any(np.size(feeds[name]) for name in (self.theirs | own) & feeds.keys()):
            raise DataError("the data hold the cache of another decoder", "give token ids only")
        given = {
            name: array
            for name, array in feeds.items()
            if name in self.inputs.specs and name not in self.theirs and name not in own
        }
        return list(self.session.run(outputs, self.inputs.completed(given)))
