"""What a model of token ids takes beside the ids: made where samples hold the ids alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from graphprune.data.batching import Arrays
from graphprune.data.dataset import Data, TokenNames, input_specs
from graphprune.data.fitting import InputSpec
from graphprune.decoder.cache_sizes import cache_sizes
from graphprune.decoder.interface import IDS, MASK, POSITIONS, DecoderInterface, decoder_interface
from graphprune.decoder.steps import prefill
from graphprune.errors import DataError
from graphprune.ir.model import Model

_TYPES = ("token_type_ids",)


@dataclass(frozen=True)
class TokenInputs:
    """The inputs of a model by their role: ``ids`` [N, S] and what can be made from them.

    ``names`` are empty where the model takes none; ``decoder`` is None where it has no cache, ``sizes`` are those of
    the cache that its file leaves free.
    """

    specs: Mapping[str, InputSpec]
    names: TokenNames
    positions: str
    types: str
    decoder: DecoderInterface | None
    sizes: Mapping[str, int]

    @property
    def length(self) -> int | None:
        """The number of tokens that the graph insists on, if it does."""
        size = self.specs[self.names.ids].dims[1]
        return size if isinstance(size, int) else None

    def completed(self, arrays: Arrays) -> Arrays:
        """``arrays`` with mask, positions, types and an empty cache, as far as the model takes them and none is given.

        With a cache that is given nothing is made: the mask would have to count it.

        Raises
        ------
        DataError
            A size of the cache is not known.
        """
        ids = arrays.get(self.names.ids)
        if ids is None or ids.ndim != 2:
            return arrays
        mask, made = arrays.get(self.names.mask), {}
        if self.decoder is not None:
            if any(tensor.past in arrays for tensor in self.decoder.cache):
                return arrays
            try:
                made = prefill(self.decoder, self.specs, ids, mask, self.sizes)
            except KeyError as error:
                raise DataError(
                    f"an empty cache cannot be made: {error.args[0]}", "give the arrays of the cache, too, with no rows"
                ) from None
        else:
            ones = np.ones(ids.shape, np.int64)
            seen = ones if mask is None or mask.shape != ids.shape else mask
            made = {self.names.mask: ones, self.positions: np.clip(np.cumsum(seen, axis=1) - 1, 0, None)}
        made[self.types] = np.zeros(ids.shape, np.int64)
        return arrays | {
            name: array.astype(self.specs[name].dtype)
            for name, array in made.items()
            if name in self.specs and name not in arrays
        }


def token_inputs(model: Model) -> TokenInputs | None:
    """How token ids go into ``model``; None where no input takes them.

    An input that is the only one takes them under any name, if it is one of integers [N, S].
    """
    specs = {spec.name: spec for spec in input_specs(model)}
    plain = [spec.name for spec in specs.values() if spec.dtype.kind in "iu" and len(spec.dims) == 2]
    ids = next((name for name in IDS if name in plain), plain[0] if plain and len(specs) == 1 else None)
    if ids is None:
        return None
    mask, positions, types = (
        next((name for name in names if name in plain), "") for names in (MASK, POSITIONS, _TYPES)
    )
    decoder = decoder_interface(model)
    return TokenInputs(specs, TokenNames(ids, mask), positions, types, decoder, cache_sizes(model))


def with_tokens(data: Data, inputs: TokenInputs) -> Data:
    """``data`` whose samples are completed where they hold less than the model takes.

    A note tells what was made, where the user has given arrays.
    """

    def chunks() -> Iterator[Arrays]:
        for arrays in data.chunks():
            whole = inputs.completed(arrays)
            if len(whole) > len(arrays) and data.kind != "text":
                data.conversions[inputs.names.ids] = _note(inputs, [name for name in whole if name not in arrays], data)
            yield whole

    return replace(data, chunks=chunks)


def _note(inputs: TokenInputs, made: list[str], data: Data) -> str:
    pasts = {tensor.past for tensor in inputs.decoder.cache} if inputs.decoder is not None else set()
    words = [name for name in made if name not in pasts]
    if len(words) < len(made):
        words.append("an empty cache")
    *most, last = words
    return f"made beside the token ids of {data.origin}: {', '.join(most) + ' and ' if most else ''}{last}"
