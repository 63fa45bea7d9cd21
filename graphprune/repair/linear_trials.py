"""What would be lost with a linear map in place of a block? Each is fitted, and what follows it runs again.

One walk over all samples fits the maps of all candidates, each by itself on the network as it is. The network's outputs
then tell how far a map moves them, on top of the maps that are settled. When a plan is carried out the maps are fitted
anew, each behind the others (:mod:`graphprune.repair.linear_fit`).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from graphprune.analysis.representation import Representation, logits_of
from graphprune.base import extras
from graphprune.data.dataset import Data
from graphprune.decoder.interface import decoder_interface
from graphprune.errors import DataError
from graphprune.ir.model import Model
from graphprune.repair import padding
from graphprune.repair.judged import Judged
from graphprune.repair.linear_fit import fit_of, mapped_state
from graphprune.repair.refit import Refit
from graphprune.repair.stage import MEMORY_LIMIT_BYTES, WALK_BYTES
from graphprune.repair.walk import WalkRefit
from graphprune.rewrite.linear_map import LinearMap
from graphprune.runtime.blas import blas_threads
from graphprune.runtime.execution import Execution
from graphprune.runtime.sessions import Feeds
from graphprune.segments.runner import Environment, Segments
from graphprune.segments.stepwise import StepwiseRun

_OTHER_DATA = "give samples that all have the same size"


@dataclass(frozen=True)
class Trial:
    """What a map did to the outputs: the mean over the batches, and its standard error."""

    loss: float
    standard_error: float


class LinearTrials:
    """Judges ``maps`` of ``model``, which lie in order of execution.

    The loss is the divergence (KL, nats per token) of a decoder's outputs; else the squared error of the
    ``representations`` as a share of their variation, padding aside; ``title`` says which. So many ``samples`` of
    ``data`` judge, all of them fit.
    """

    def __init__(
        self,
        model: Model,
        maps: Sequence[LinearMap],
        data: Data,
        samples: int,
        representations: Sequence[Representation],
        execution: Execution,
    ) -> None:
        self.model, self._data, self._execution = model, data, execution
        self._judges = data.at_most(samples)
        self.representations = tuple(representations)
        self._settled: list[str] = []
        self.unexplained: dict[str, float] = {}
        with blas_threads(execution.runtime.thread_count):
            self._maps = self._fitted(maps)
        is_decoder = decoder_interface(model) is not None
        self.logits = logits_of(model) if is_decoder else ""
        self.title = "KL" if is_decoder else "error"
        targets = [self.logits] if is_decoder else [each.tensor for each in representations]
        pieces = [replace(each.block, exit=each.output, nodes=each.gone) for each in maps]
        self._segments = Segments.at_blocks(model, pieces, targets, execution.runtime)

    def judge(self, joins: Sequence[str]) -> list[Trial]:
        """The map at each of ``joins`` beside those that are settled."""
        losses: list[list[float]] = []
        with blas_threads(1), ThreadPoolExecutor(self._execution.runtime.thread_count) as pool:
            for batch in self._judges.batches(self._execution.batch):
                env = self._segments.run(batch.feeds)
                loss = _Loss(self, batch.feeds, env)
                for join in self._settled:
                    env |= self._segments.changed(env, self._mapped(env, join))

                def tried(join: str, env: Environment = env, loss: _Loss = loss) -> float:
                    return loss.of(self._segments.following(env, self._mapped(env, join)))

                losses.append(list(pool.map(tried, joins)))
        values = np.array(losses)
        errors = values.std(axis=0, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.zeros(len(joins))
        return [Trial(float(mean), float(error)) for mean, error in zip(values.mean(axis=0), errors, strict=True)]

    def settle(self, join: str) -> None:
        """Go on with this map in place."""
        self._settled = [each for each in self._maps if each == join or each in self._settled]

    def _mapped(self, env: Environment, join: str) -> Environment:
        map_ = self._maps[join]
        values = map_.of(env[map_.block.entry].numpy())
        return {map_.output: extras.onnxruntime().OrtValue.ortvalue_from_numpy(values)}

    def _tasks(self, maps: Sequence[LinearMap]) -> list[Refit]:
        """The refit of each. A decoder cannot be without all its caches: one attention has a network of its own."""
        last = next((map_ for map_ in reversed(maps) if map_.block.cache), None)
        state = mapped_state(self.model, (), self.model, [map_ for map_ in maps if map_ is not last])
        own = state if last is None else mapped_state(self.model, (), self.model, [last])
        return [fit_of(own if map_ is last else state, map_) for map_ in maps]

    def _fitted(self, maps: Sequence[LinearMap]) -> dict[str, LinearMap]:
        """The maps, each fitted by itself, by join; how much of their targets they leave is noted."""
        tasks = self._tasks(maps)
        stops = [list(dict.fromkeys((*task.original_reads, *task.pruned_reads))) for task in tasks]
        limit_bytes = WALK_BYTES if any(isinstance(task, WalkRefit) for task in tasks) else MEMORY_LIMIT_BYTES
        found = {}
        with StepwiseRun(self.model, stops, self._execution.runtime, limit_bytes) as run:
            for batch in self._data.batches(self._execution.batch):
                run.take(batch.feeds)
            for place, (task, map_) in enumerate(zip(tasks, maps, strict=True)):
                self._execution.progress("fitting linear maps", place, len(maps))
                for values in run.advance(place):
                    task.add(values, values, run.batches)
                fit = task.fit()
                if fit is None:
                    raise DataError(f"the samples do not tell what {map_.block.name} makes of its input", _OTHER_DATA)
                found[map_.block.join] = map_.with_values(fit.matrix[0], fit.shift[0])
                self.unexplained[map_.block.join] = fit.after
        return found


class _Loss:
    """How far the outputs of a batch are from what they are in ``env``."""

    def __init__(self, trials: LinearTrials, feeds: Feeds, env: Environment) -> None:
        self._judged = None
        if trials.logits:
            self._judged = Judged(trials.model, feeds, env[trials.logits].numpy())
        self._logits, self._representations = trials.logits, trials.representations
        mask = padding.mask_input(trials.model)
        self._mask = feeds[mask] if mask else None
        self._wanted = [] if trials.logits else self._features(env)

    def of(self, found: Environment) -> float:
        if self._judged is not None:
            return self._judged.divergence(found[self._logits].numpy())
        pairs = zip(self._wanted, self._features(found), strict=True)
        return float(np.mean([_error(wanted, features) for wanted, features in pairs]))

    def _features(self, env: Environment) -> list[NDArray[np.float64]]:
        """Matrices (rows, features), without padding."""
        found = []
        for each in self._representations:
            values = env[each.tensor].numpy()
            rows = each.features(values).astype(np.float64)
            is_by_token = self._mask is not None and each.layout == "last"
            counted = padding.counted(self._mask, values.shape) if is_by_token and self._mask is not None else None
            found.append(rows if counted is None else rows[counted.reshape(-1)])
        return found


def _error(wanted: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    """Squared error as a share of the variation of what is ``wanted``."""
    variation = float(np.sum((wanted - wanted.mean(axis=0)) ** 2)) or float(np.sum(wanted**2)) or 1.0
    return float(np.sum((found - wanted) ** 2)) / variation
