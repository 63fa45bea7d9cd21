"""The residual blocks whose input and output are least alike: what training changes most, it is said, is there."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from graphprune.analysis.blocks import Block
from graphprune.analysis.model_analysis import analyse
from graphprune.data.dataset import Data
from graphprune.errors import OptionError
from graphprune.importance.similarity import linear_cka
from graphprune.ir.model import Model
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.segments.capture import capture

_ROWS = 2048  # tokens, or samples where there are none


def least_alike(model: Model, data: Data, count: int) -> set[str]:
    """The initialisers that the ``count`` blocks read whose CKA between entry and exit is lowest.

    Tokens are compared, of the first samples; maps of images by their means over positions.

    Raises
    ------
    OptionError
        The network has no residual block.
    """
    joins = analyse(model, data.first(1), RuntimeOptions()).joins
    blocks = [join.block for join in joins if join.block is not None]
    if not blocks:
        raise OptionError("the model has no residual blocks, of which lora-blocks takes some", "leave the option out")
    likeness = _likeness(model, blocks, data)
    chosen = sorted(blocks, key=lambda block: likeness[block.join])[:count]
    inside = {name for block in chosen for name in block.nodes}
    return {
        tensor.name
        for node in model.graph.nodes
        if node.name in inside
        for tensor in node.inputs
        if isinstance(tensor, gs.Constant)
    }


def _likeness(model: Model, blocks: list[Block], data: Data) -> dict[str, float]:
    """Join -> CKA of what enters and leaves its block."""
    taps = list(dict.fromkeys(name for block in blocks for name in (block.entry, block.exit)))
    rows: dict[str, list[np.ndarray]] = {name: [] for name in taps}
    held = 0
    for _, values in capture(model, taps, data, 1, RuntimeOptions()):
        for name, array in values.items():
            rows[name].append(_rows(array))
        held += len(rows[taps[0]][-1])
        if held >= _ROWS:
            break
    whole = {name: np.concatenate(parts)[:_ROWS] for name, parts in rows.items()}
    return {
        block.join: linear_cka(whole[block.entry], whole[block.exit]) if _pair(whole, block) else 1.0
        for block in blocks
    }


def _pair(whole: dict[str, np.ndarray], block: Block) -> bool:
    return len(whole[block.entry]) == len(whole[block.exit])


def _rows(array: np.ndarray) -> np.ndarray:
    """(rows, features): tokens [N, S, features] one by one, maps [N, C, ...] by their means."""
    if array.ndim > 3:
        return np.asarray(array.reshape(*array.shape[:2], -1).mean(2))
    return array.reshape(-1, array.shape[-1])
