"""A decoder whose cache has numbers for the axes that its file leaves free and its operators tell."""

from __future__ import annotations

from dataclasses import replace

from graphprune.decoder.cache_sizes import cache_sizes
from graphprune.ir.model import Model


def with_known_sizes(model: Model) -> Model:
    """``model`` with the sizes that :func:`cache_sizes` finds in its symbolic shapes; the header stays as it is."""
    sizes = cache_sizes(model)
    if not sizes:
        return model
    shapes = {
        name: tuple(sizes.get(dim, dim) if isinstance(dim, str) else dim for dim in dims)
        for name, dims in model.shapes.items()
    }
    return replace(model, shapes=shapes)
