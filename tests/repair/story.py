"""A network, what has been taken out of it step by step, and its repair: the setting of most tests here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx

from graphprune.analysis.model_analysis import ModelAnalysis, analyse
from graphprune.data.dataset import load_data
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from graphprune.ir.model import Model
from graphprune.repair.outcome import LayerRepair, RepairReport
from graphprune.repair.sites import RepairLayer, find_sites
from graphprune.repair.stage import MEMORY_LIMIT_BYTES, Method, repair
from graphprune.rewrite import remove_blocks, remove_units
from graphprune.rewrite.removal import Removal
from graphprune.runtime.sessions import RuntimeOptions
from tests.graphs import Arrays

ONE_THREAD = RuntimeOptions(threads=1)


@dataclass
class Story:
    """``original`` is never changed, ``small`` is what the steps have left of it; ``feeds`` are all samples."""

    original: ModelAnalysis
    feeds: Arrays
    small: ModelAnalysis = field(init=False)
    steps: list[Removal] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.small = self.original

    def cut(self, group: str, removed: Sequence[int]) -> Story:
        """Take these units out of a group, found by its name or by a layer that writes it."""
        found = next(g for g in self.small.groups if group in (g.name, *g.writers))
        mask = ~np.isin(np.arange(found.size), removed)
        step = Removal(self.small.model, typing=self.small.typing, kept={found.atom: mask})
        return self._then(step, remove_units(self.small.model, self.small.typing, {found.atom: mask}))

    def without(self, *joins: str) -> Story:
        """Take the blocks out that end at these joins."""
        blocks = [join.block for join in self.small.joins if join.node in joins and join.block]
        assert len(blocks) == len(joins)
        return self._then(Removal(self.small.model, tuple(blocks)), remove_blocks(self.small.model, blocks))

    def _then(self, step: Removal, model: Model) -> Story:
        self.steps.append(step)
        self.small = analyse(model, first(self.feeds), ONE_THREAD)
        return self

    @property
    def sites(self) -> dict[str, RepairLayer]:
        return {site.node: site for site in find_sites(self.original.model, self.small.model, self.small.sizes)}

    def repaired(
        self, *methods: Method, batch: int = 8, limit_bytes: int = MEMORY_LIMIT_BYTES, feeds: Arrays | None = None
    ) -> tuple[onnx.ModelProto, dict[str, LayerRepair], RepairReport]:
        """The repaired network, the last outcome of each layer by its label, and the whole report."""
        data = load_data(self.feeds if feeds is None else feeds, self.original.model, None)
        fixed, report = repair(
            self.original.model,
            self.small.model,
            self.steps,
            self.small.sizes,
            data,
            batch,
            methods,
            ONE_THREAD,
            lambda *_: None,
            limit_bytes,
        )
        return to_proto(fixed), {layer.layer: layer for layer in report.layers}, report

    @property
    def proto(self) -> onnx.ModelProto:
        return to_proto(self.original.model)

    @property
    def small_proto(self) -> onnx.ModelProto:
        return to_proto(self.small.model)


def story(proto: onnx.ModelProto, feeds: Arrays) -> Story:
    return Story(analyse(load(proto), first(feeds), ONE_THREAD), feeds)


def first(feeds: Arrays) -> Arrays:
    """One sample."""
    return {name: array[:1] if array.ndim else array for name, array in feeds.items()}


def images(samples: int, shape: Sequence[int] = (3, 8, 8), seed: int = 3) -> Arrays:
    return {"x": np.random.default_rng(seed).standard_normal((samples, *shape)).astype(np.float32)}


def distance(found: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> float:
    """Largest difference, as a share of the largest magnitude."""
    pairs = zip(found, wanted, strict=True)
    return max(float(np.abs(f - w).max() / np.abs(w).max()) for f, w in pairs)


def spread(found: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> float:
    """Root mean square of the difference, as a share of that of the deviation from the mean sample."""
    pairs = [(f.astype(np.float64), w.astype(np.float64)) for f, w in zip(found, wanted, strict=True)]
    return max(float(np.sqrt(np.sum((f - w) ** 2) / np.sum((w - w.mean(0)) ** 2))) for f, w in pairs)
