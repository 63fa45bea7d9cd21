"""Linear maps fitted to samples: ridge regression of what the original has at a block's exit on what the pruned network
has at its entry.

NBL (arXiv 2505.21077) solves the same least squares on the original's own entry; here the maps are fitted from
front to back, each on what the network with all earlier ones feeds it, so that each pays back the drift before it.
The penalty pulls towards a map that adds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.analysis.sizes import Sizes
from graphprune.data.dataset import Data
from graphprune.decoder.interface import decoder_interface
from graphprune.ir.model import Model, read_values
from graphprune.repair.refit import Refit
from graphprune.repair.sites import Bias, RepairLayer
from graphprune.repair.stage import carried_out
from graphprune.repair.task import RepairState
from graphprune.repair.walk import WalkRefit, modest_batch
from graphprune.rewrite import linearise
from graphprune.rewrite.linear_map import LinearMap
from graphprune.rewrite.removal import Removal
from graphprune.runtime.sessions import RuntimeOptions


def fitted(
    original: Model,
    steps: Sequence[Removal],
    analysis: ModelAnalysis,
    maps: Sequence[LinearMap],
    data: Data,
    batch: int,
    options: RuntimeOptions,
    progress: Callable[[int, int], None],
) -> list[LinearMap]:
    """``maps`` of the network of ``analysis``, to which ``steps`` led from ``original``, with their numbers.

    A map that on held-out samples is no better than to add nothing stays as it is.
    """
    state = mapped_state(original, steps, analysis.model, maps)
    order = {node.name: place for place, node in enumerate(state.pruned.graph.nodes)}
    ordered = sorted(maps, key=lambda map_: order[map_.node])
    tasks = [fit_of(state, map_) for map_ in ordered]
    carried_out(state, tasks, data, _modest(state, tasks, analysis.sizes, batch), options, progress)
    return [_as_written(state.pruned, map_) for map_ in maps]


def mapped_state(original: Model, steps: Sequence[Removal], model: Model, maps: Sequence[LinearMap]) -> RepairState:
    """``original`` beside ``model`` with ``maps`` in it."""
    return RepairState(original, linearise(model, maps), (*steps, Removal(model, maps=tuple(maps))))


def fit_of(state: RepairState, map_: LinearMap) -> Refit:
    """The refit of a map that ``state`` holds."""
    node = state.node(map_.node)
    shifter = node if node.op == "Conv" else state.node(map_.nodes[1])
    operand = 2 if shifter is node else 1
    site = RepairLayer(
        node=map_.node,
        label=map_.block.name,
        reads=node.inputs[0].name,
        exit=shifter.outputs[0].name,
        chain=(),
        axis=map_.axis,
        scale=np.ones(map_.width),
        shift=np.zeros(map_.width),
        bias=Bias(shifter.name, operand, np.ones(map_.width)),
        join=shifter.outputs[0].name if map_.is_merged else "",
        shortcut="" if map_.is_merged else node.inputs[0].name,
        adder="" if map_.is_merged else map_.block.join,
    )
    return (Refit if decoder_interface(state.original) is None else WalkRefit)(state, site)


def _modest(state: RepairState, tasks: Sequence[Refit], sizes: Sizes, batch: int) -> int:
    """The batch of a walk: smaller where a decoder's tensors are large."""
    is_walk = any(isinstance(task, WalkRefit) for task in tasks)
    return modest_batch(state.pruned, sizes, tasks[-1].node.name, batch) if is_walk else batch


def _as_written(model: Model, map_: LinearMap) -> LinearMap:
    """``map_`` with the numbers that its nodes have."""
    nodes = {node.name: node for node in model.graph.nodes}
    node = nodes[map_.node]
    weights = np.asarray(read_values(node.inputs[1], model.folder), np.float64)
    if node.op == "Conv":
        return map_.with_values(
            weights.reshape(weights.shape[:2]).T, np.asarray(read_values(node.inputs[2], model.folder), np.float64)
        )
    shift = read_values(nodes[map_.nodes[1]].inputs[1], model.folder)
    return map_.with_values(weights, np.asarray(shift, np.float64))
