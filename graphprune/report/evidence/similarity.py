"""How alike the outputs of the blocks are: linear CKA between any two, on the calibration samples."""

from __future__ import annotations

import numpy as np

from graphprune.analysis.blocks import Block
from graphprune.analysis.representation import Representation
from graphprune.errors import GraphpruneError
from graphprune.importance.pairwise import pairwise_cka
from graphprune.report.html.pictures import Similarity
from graphprune.run.loaded import LoadedRun
from graphprune.run.options import RunOptions
from graphprune.segments.capture import capture

_MOST_BLOCKS = 96
_MOST_SAMPLES = 512
_MIN_SAMPLES = 4  # with fewer everything is alike


def gather_similarity(loaded: LoadedRun, gone: frozenset[str], options: RunOptions) -> Similarity:
    """One row of features per sample at the exit of every removable block, positions pooled; ``gone`` are join names.

    At most 512 samples and 96 blocks, evenly spread, so that memory is bounded by 100 MB of Gram matrices.
    """
    blocks = loaded.blocks
    if len(blocks) < 2:
        return Similarity(note="fewer than two removable blocks: there is nothing to compare")
    if len(blocks) > _MOST_BLOCKS:
        blocks = [blocks[i] for i in np.linspace(0, len(blocks) - 1, _MOST_BLOCKS).round().astype(int)]
    options.progress("comparing the blocks", 0, 0)
    try:
        features = _features(loaded, blocks, options)
    except (GraphpruneError, ValueError) as error:
        return Similarity(note=f"the outputs of the blocks cannot be compared: {error}")
    rows = len(features[0])
    if rows < _MIN_SAMPLES:
        return Similarity(note=f"{rows} samples are too few to compare blocks by")
    if not all(np.isfinite(each).all() for each in features):
        return Similarity(note="the output of a block is not finite for some sample")
    matrix = pairwise_cka(features)
    removed = frozenset(block.name for block in blocks if block.join in gone)
    values = tuple(tuple(float(value) for value in row) for row in matrix)
    note = f"{len(blocks)} of {len(loaded.blocks)} blocks" if len(blocks) < len(loaded.blocks) else ""
    return Similarity(tuple(block.name for block in blocks), values, removed, rows, note)


def _features(loaded: LoadedRun, blocks: list[Block], options: RunOptions) -> list[np.ndarray]:
    """A matrix (n, d) per block.

    Raises
    ------
    ValueError
        A block's output does not have one entry per sample along its first axis.
    """
    places = [_representation(loaded, block) for block in blocks]
    parts: list[list[np.ndarray]] = [[] for _ in blocks]
    rows = 0
    tensors = [place.tensor for place in places]
    for batch, values in capture(loaded.model, tensors, loaded.data, options.batch, options.runtime):
        for place, part in zip(places, parts, strict=True):
            value = values[place.tensor]
            if len(value) != len(batch):
                raise ValueError(f"'{place.tensor}' is {list(value.shape)} for {len(batch)} samples")
            part.append(_pooled(place, value))
        rows += len(batch)
        if rows >= _MOST_SAMPLES:
            break
    return [np.concatenate(part)[:_MOST_SAMPLES] for part in parts]


def _representation(loaded: LoadedRun, block: Block) -> Representation:
    return Representation(block.exit, "channels" if len(loaded.analysis.sizes[block.exit]) >= 4 else "last")


def _pooled(place: Representation, value: np.ndarray) -> np.ndarray:
    """One row per sample; where the channels are last, the positions are averaged, too."""
    if place.layout == "last" and value.ndim > 2:
        pooled: np.ndarray = value.mean(axis=tuple(range(1, value.ndim - 1)), dtype=np.float64)
        return pooled
    return place.features(value)
