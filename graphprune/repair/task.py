"""One layer's repair, as the stage sees it: what to look at, batch by batch, and then what to do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from graphprune.ir.model import Model
from graphprune.repair.outcome import LayerRepair
from graphprune.repair.sites import RepairLayer
from graphprune.repair.survivors import survivors
from graphprune.rewrite.removal import Removal
from graphprune.segments.stepwise import Values

Change = tuple[np.ndarray, np.ndarray]
"""Factors and offsets for an exit that has been computed already; they broadcast to it."""


@dataclass(frozen=True)
class RepairState:
    """The network as it was, the one under repair, and how the one became the other."""

    original: Model
    pruned: Model
    steps: tuple[Removal, ...]

    def node(self, name: str) -> gs.Node:
        return next(node for node in self.pruned.graph.nodes if node.name == name)

    def original_node(self, name: str) -> gs.Node:
        return next(node for node in self.original.graph.nodes if node.name == name)

    def in_original(self, tensor: str) -> str:
        """What the node that makes ``tensor`` in the pruned network makes in the original one."""
        for node in self.pruned.graph.nodes:
            for index, made in enumerate(node.outputs):
                if made.name == tensor:
                    return self._by_map(node.name) or str(self.original_node(node.name).outputs[index].name)
        return tensor  # an input

    def _by_map(self, node: str) -> str:
        """What the original has in place of what this node of a linear map makes; empty for other nodes."""
        for map_ in (map_ for step in self.steps for map_ in step.maps):
            if node in map_.nodes:
                join = self.original_node(map_.block.join)
                made = join.outputs[0] if map_.is_merged else join.inputs[map_.block.branches[0][1]]
                return str(made.name)
        return ""

    def kept(self, tensor: str, axis: int, values: np.ndarray) -> np.ndarray:
        """What the removal has left of the original's ``values`` along ``axis``."""
        left = survivors(self.steps, tensor, axis % values.ndim, values.shape[axis])
        return values if len(left) == values.shape[axis] else np.take(values, left, axis)


class Task(ABC):
    """The repair of ``site``; ``original_reads`` and ``pruned_reads`` are the tensors to look at in each network."""

    method: ClassVar[str]

    def __init__(
        self, scene: RepairState, site: RepairLayer, original_reads: list[str], pruned_reads: list[str]
    ) -> None:
        self.scene, self.site = scene, site
        self.original_reads, self.pruned_reads = original_reads, pruned_reads
        self.node = scene.node(site.node)

    @abstractmethod
    def add(self, theirs: Values, mine: Values, batches: int) -> None:
        """One of ``batches`` batches: values in the original and in the pruned network."""

    @abstractmethod
    def finish(self) -> tuple[LayerRepair, Change | None]:
        """Repair the layer if that helps on held-out samples."""

    def outcome(self, before: float, after: float, note: str = "") -> LayerRepair:
        is_kept = after < before
        return LayerRepair(self.site.label, self.method, before, after if is_kept else before, is_kept, note)
