"""What one step takes out of a model."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from graphprune.analysis.blocks import Block
from graphprune.axes import algebra
from graphprune.axes.algebra import Kept
from graphprune.axes.typing import Typing
from graphprune.decoder.interface import CacheTensor, DecoderInterface, decoder_interface
from graphprune.ir.model import Model
from graphprune.rewrite.cache import cache_of, new_names
from graphprune.rewrite.linear_map import LinearMap


@dataclass(frozen=True)
class Removal:
    """What one step takes out of ``model``: residual blocks, units of atoms of its ``typing``, or branches in whose
    place there are ``maps``.
    """

    model: Model
    blocks: tuple[Block, ...] = ()
    typing: Typing | None = None
    kept: Kept = field(default_factory=dict)
    maps: tuple[LinearMap, ...] = ()

    @property
    def _gone(self) -> list[CacheTensor]:
        """What leaves the cache."""
        return cache_of((*self.blocks, *(map_.block for map_ in self.maps)))

    @property
    def outputs(self) -> dict[str, str]:
        """The outputs of ``model`` that stay, in their order, and their names afterwards."""
        gone = self._gone
        names, lost = new_names(self.model, gone) if gone else {}, {tensor.present for tensor in gone}
        outputs = [tensor.name for tensor in self.model.graph.outputs]
        return {name: names.get(name, name) for name in outputs if name not in lost}

    @property
    def decoder(self) -> DecoderInterface | None:
        """How what is left is used as a decoder with a cache; None if ``model`` is none."""
        decoder, gone = decoder_interface(self.model), self._gone
        if decoder is None or not gone:
            return decoder
        names = new_names(self.model, gone)
        left = [tensor for tensor in decoder.cache if tensor not in gone]
        cache = [replace(tensor, past=names[tensor.past], present=names[tensor.present]) for tensor in left]
        return replace(decoder, cache=tuple(cache))

    def left_of(self, name: str, values: np.ndarray) -> np.ndarray:
        """What is left of a tensor of ``model`` that the cut makes smaller: a decoder's keys and values, say."""
        for index, axis in enumerate(self.typing.axes.get(name, ()) if self.typing is not None else ()):
            mask = algebra.indices_of(axis, self.kept)
            if not mask.all():
                values = np.compress(mask, values, axis=index)
        return values
