"""What a decoder is fed: the first step with an empty cache, and every further one with the cache it gave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from graphprune.decoder.interface import DecoderInterface

if TYPE_CHECKING:
    from graphprune.data.fitting import InputSpec

Arrays = dict[str, np.ndarray]


def prefill(
    interface: DecoderInterface,
    specs: Mapping[str, InputSpec],
    ids: np.ndarray,
    mask: np.ndarray | None = None,
    sizes: Mapping[str, int] | None = None,
) -> Arrays:
    """Feeds of the first step: ``ids`` int [N, S], an empty past, positions counted over ``mask`` int [N, S].

    Parameters
    ----------
    specs : input name -> its dtype and dims.
    sizes : of free axes of the cache other than samples and positions, by their name, where the file leaves them free
        (the builder of onnxruntime-genai writes head sizes as ``kv_cache_dim``).

    Raises
    ------
    KeyError
        A free axis of the cache has no size in ``sizes``.
    """
    samples, length = ids.shape
    mask = np.ones((samples, length), dtype=np.int64) if mask is None else mask
    feeds = {interface.ids: ids.astype(specs[interface.ids].dtype)}
    if interface.mask:
        feeds[interface.mask] = mask.astype(specs[interface.mask].dtype)
    if interface.positions:
        feeds[interface.positions] = _positions(mask, length).astype(specs[interface.positions].dtype)
    for tensor in interface.cache:
        shape = [dim if isinstance(dim, int) else (sizes or {}).get(str(dim), -1) for dim in tensor.dims]
        shape[0], shape[tensor.position_axis] = samples, 0
        if -1 in shape:
            raise KeyError(f"no size for axis '{tensor.dims[shape.index(-1)]}' of '{tensor.past}'")
        feeds[tensor.past] = np.zeros(shape, dtype=specs[tensor.past].dtype)
    return feeds


def shortened(interface: DecoderInterface, feeds: Mapping[str, np.ndarray], tokens: int) -> Arrays:
    """Feeds of the first step without its last ``tokens``; as they are where no token would be left."""
    if feeds[interface.ids].shape[1] <= tokens:
        return dict(feeds)
    counted = {name for name in (interface.ids, interface.mask, interface.positions) if name}
    return {name: array[:, :-tokens] if name in counted else array for name, array in feeds.items()}


def next_step(
    interface: DecoderInterface, fed: Mapping[str, np.ndarray], gave: Mapping[str, Any], ids: np.ndarray
) -> Arrays:
    """Feeds of the step after ``fed``, which ``gave`` the outputs by name; ``ids`` int [N, S] are no padding."""
    samples, length = ids.shape
    feeds = {interface.ids: ids.astype(fed[interface.ids].dtype)}
    if interface.mask:
        old = fed[interface.mask]
        feeds[interface.mask] = np.concatenate([old, np.ones((samples, length), dtype=old.dtype)], axis=1)
    if interface.positions:
        last = fed[interface.positions][:, -1:]
        feeds[interface.positions] = last + np.arange(1, length + 1, dtype=last.dtype)
    feeds.update({tensor.past: gave[tensor.present] for tensor in interface.cache})
    return feeds


def _positions(mask: np.ndarray, length: int) -> np.ndarray:
    """Positions of the last ``length`` tokens, counted from the first that is no padding."""
    counted: np.ndarray = np.clip(np.cumsum(mask, axis=1) - 1, 0, None)[:, -length:]
    return counted
