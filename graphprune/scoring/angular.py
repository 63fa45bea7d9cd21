"""How far each block turns the stream, all blocks in one pass over the data; no tensor is kept longer than needed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from graphprune.analysis.blocks import Block, Join
from graphprune.analysis.stages import is_cnn
from graphprune.data.batching import Batch
from graphprune.data.dataset import Data
from graphprune.importance.angular import Measure, turn
from graphprune.importance.row_mean import StreamedMean
from graphprune.ir.model import Model
from graphprune.runtime.blas import one_blas_thread
from graphprune.scoring.tokens import token_mask
from graphprune.segments.in_order import in_order
from graphprune.segments.runner import Environment, Segments

_PORTIONS = 4  # of a batch: the pass is short, and every core is to have a part in it

Turns = dict[str, tuple[NDArray[np.float64], NDArray[np.intp]]]
"""Join name -> distances of some rows, and which sample each belongs to."""


def turns(
    segments: Segments,
    blocks: Sequence[Block],
    gone: frozenset[str],
    data: Data,
    batch: int,
    threads: int,
    measure: Measure,
    by_token: Collection[str],
) -> list[tuple[float, float]]:
    """How far each of ``blocks`` turns the stream: mean distance of entry and exit, and its standard error.

    ``segments`` are cut at ``blocks`` at least; those with joins in ``gone`` are bypassed. Blocks with joins in
    ``by_token`` are compared token by token, along the last axis, without padding; the others sample by sample.
    NaN where the activations are.
    """
    means = {block.join: StreamedMean() for block in blocks}

    def work(part: Batch) -> Turns:
        return {
            block.join: _turn(block, env, part, measure, block.join in by_token)
            for block, env in _met(segments, blocks, part, gone)
        }

    with one_blas_thread(), ThreadPoolExecutor(threads) as pool:
        for found in in_order(pool, work, data.batches(max(1, batch // _PORTIONS)), threads):
            for join, (distances, samples) in found.items():
                means[join].update(distances, samples)
    return [means[block.join].result() for block in blocks]


def token_blocks(model: Model, joins: Sequence[Join], sizes: Mapping[str, tuple[int, ...]]) -> set[str]:
    """The joins of the blocks whose stream is of tokens, each a row along the last axis.

    In a CNN there are none; elsewhere a stream of four axes around a convolution is a map.
    """
    if is_cnn(model, joins):
        return set()
    ops = {node.name: node.op for node in model.graph.nodes}
    blocks = [join.block for join in joins if join.block]
    return {
        block.join
        for block in blocks
        if len(sizes[block.entry]) <= 3 or not any("Conv" in ops[name] for name in block.layers)
    }


def _met(
    segments: Segments, blocks: Sequence[Block], part: Batch, gone: frozenset[str]
) -> Iterator[tuple[Block, Environment]]:
    """Each block at the moment that its exit is there; the environment then holds it and the entry."""
    last = segments.chain.last_reader
    waiting = {block.join: block for block in blocks}
    env: Environment = {}
    for place, _ in enumerate(segments.chain.steps(env, part.feeds, gone)):
        for join, block in list(waiting.items()):
            if block.exit in env and block.entry in env:
                yield waiting.pop(join), env
        entries = {block.entry for block in waiting.values()}
        for name in [name for name in env if last.get(name, -1) <= place and name not in entries]:
            del env[name]


def _turn(
    block: Block, env: Environment, part: Batch, measure: Measure, is_by_token: bool
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    entry, exit_ = env[block.entry].numpy(), env[block.exit].numpy()
    if block.pads:
        before, behind = np.split(np.array(block.pads), 2)
        entry = np.pad(entry, list(zip(before, behind, strict=True)))
    rows = entry.shape[:-1] if is_by_token else entry.shape[:1]
    one, other = (each.reshape(*rows, -1) for each in (entry, exit_))
    samples = np.broadcast_to(np.arange(rows[0]).reshape(-1, *[1] * (len(rows) - 1)), rows)
    mask = token_mask(part) if is_by_token else None
    if mask is not None and rows == (mask.size,):  # the tokens of all prompts in a row
        samples, mask = np.repeat(np.arange(len(mask)), mask.shape[1]), mask.reshape(-1)
    is_row = mask if mask is not None and mask.shape == rows else np.ones(rows, np.bool_)
    return turn(one[is_row], other[is_row], measure), samples[is_row]
