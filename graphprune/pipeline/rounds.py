"""Rounds: what was removed since the last one is proved, then repaired, then trained if asked for."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from graphprune.analysis.model_analysis import ModelAnalysis, analyse
from graphprune.base.memory import give_back
from graphprune.data.dataset import Data
from graphprune.errors import OptionError
from graphprune.ir import export
from graphprune.ir.model import Model
from graphprune.plan.plan import Plan
from graphprune.repair.linear_fit import fitted
from graphprune.repair.outcome import RepairReport
from graphprune.repair.refits import Refits
from graphprune.repair.stage import DEFAULT, Method, repair
from graphprune.rewrite.linear_map import Fitter, LinearMap
from graphprune.rewrite.removal import Removal
from graphprune.run import samples
from graphprune.run.loaded import LoadedRun
from graphprune.run.options import RunOptions
from graphprune.text.corpus import is_text
from graphprune.training import TrainingReport, TrainOptions, budget_of, checkpoint, finetune, healing
from graphprune.training.stream import trained_on
from graphprune.validation.validate import Validation, check_normalisation, check_written, outputs_of, validate
from graphprune.validation.yardstick import Yardstick

Repaired = tuple[Model, RepairReport | None]
"""A network with other weights, and how they came about."""


class Rounds:
    """The removals made so far, and what followed each round of them.

    ``fresh`` are the removals since the last round; :func:`graphprune.rewrite.apply.execute` adds to them. ``ready`` is
    the network after them as an earlier trial has repaired it, if one has. A round is :meth:`prove`, :meth:`repaired`,
    :meth:`trained`, :meth:`end`, in this order.
    """

    def __init__(self, loaded: LoadedRun, options: RunOptions) -> None:
        self._loaded, self._options = loaded, options
        self._done: list[Removal] = []
        self.fresh: list[Removal] = []
        self.refits = Refits()
        self.ready: Repaired | None = None
        self.validation: Validation | None = None
        self._yardstick: Yardstick | None = None
        self.repair: RepairReport | None = None
        self.training: list[TrainingReport] = []

    @property
    def steps(self) -> tuple[Removal, ...]:
        """All removals so far."""
        return (*self._done, *self.fresh)

    @property
    def recovers(self) -> bool:
        """Whether something was removed, and a repair or training is to follow."""
        methods = repairs(self._options, self._loaded.data)
        recovery = self._options.recovery
        return bool(self.steps and (methods or recovery.finetune or recovery.healing))

    def fitted(self, analysis: ModelAnalysis, maps: Sequence[LinearMap]) -> Sequence[LinearMap]:
        """Linear maps of the network of ``analysis``, which the removals so far have led to, with their numbers."""
        return fitter(self._loaded, self._options, lambda: self.steps)(analysis, maps)

    def prove(self, small: ModelAnalysis, path: Path) -> None:
        """Write ``small`` into ``path`` and compare that file with the network as it was when the round began.

        Raises
        ------
        ValidationFailed
            It does not compute what it should.
        """
        data, options = self._loaded.data, self._options
        options.progress("writing", 0, 0)
        export.write(small.model, path)
        give_back()
        options.progress("validating", 0, 0)
        batch = len(next(data.batches(options.batch)))  # fewer samples would be repeated
        if self._yardstick is None:
            self._yardstick = Yardstick(self._loaded.model, data, batch, options.runtime)
        how = (data, batch, options.runtime, self._yardstick)
        if not self._done:
            check_normalisation(self._loaded.model, *how)
        found = validate(self.fresh or [Removal(small.model)], path, *how)
        worst = max(found.max_relative_error, self.validation.max_relative_error if self.validation else 0.0)
        self.validation = replace(found, max_relative_error=worst)

    def repaired(self, small: ModelAnalysis) -> ModelAnalysis:
        """``small`` with other weights, refitted to the samples, if anything was removed in this round."""
        loaded, options = self._loaded, self._options
        methods = repairs(options, loaded.data)
        if not (self.fresh and methods):
            return small
        if self.ready is not None:
            (model, self.repair), self.ready = self.ready, None
            return analyse(model, loaded.feeds, options.runtime)
        found = self.refits.of(self.steps) if methods == ("walk",) else None
        heals = options.recovery.healing
        model, self.repair = found or repair(
            loaded.model,
            small.model,
            self.steps,
            small.sizes,
            loaded.data if heals is None else trained_on(loaded.data, heals.held_out),
            options.batch,
            methods,
            options.runtime,
            options.progress,
        )
        return analyse(model, loaded.feeds, options.runtime)

    def healed(self, small: ModelAnalysis) -> ModelAnalysis:
        """``small`` brought nearer to the unpruned network, if that was asked for and anything was removed."""
        recovery = self._options.recovery
        if recovery.healing is None or not self.steps:
            return small
        return self._learnt(small, recovery.healing, recovery.heal_data)

    def trained(self, small: ModelAnalysis) -> ModelAnalysis:
        """``small`` after training, if that was asked for and anything was removed in this round."""
        training = self._options.recovery.finetune
        if not self.fresh or training is None:
            return small
        if training.checkpoint is not None:
            training = replace(training, checkpoint=checkpoint.numbered(training.checkpoint, len(self.training)))
        return self._learnt(small, training, self._options.recovery.training_data)

    def _learnt(self, small: ModelAnalysis, training: TrainOptions, source: Any) -> ModelAnalysis:
        """``small`` trained on ``source`` towards the unpruned network."""
        loaded, options = self._loaded, self._options
        limit = training.chunks_needed() if is_text(source) else None
        data = samples.training(source, small.model, loaded.data.batching, options, limit)
        model, report = finetune(small.model, loaded.model, data, training, options.progress)
        self.training.append(report)
        return analyse(model, loaded.feeds, options.runtime)

    def end(self, proved: ModelAnalysis, better: ModelAnalysis, path: Path) -> None:
        """Write ``better`` over the file of the network that was ``proved``;
        what is removed from now on is a new round.

        Raises
        ------
        ValidationFailed
            It does not run, or is not the same network but for its weights.
        """
        self._done += self.fresh
        self.fresh = []
        feeds, runtime = self._loaded.data.first(1), self._options.runtime
        expected = outputs_of(path, proved.model, feeds, runtime)
        path.with_name(f"{path.name}.data").unlink(missing_ok=True)  # the new file may need none
        export.write(better.model, path)
        check_written(path, proved.model, expected, feeds, runtime)

    def close(self, small: ModelAnalysis) -> ModelAnalysis:
        """A whole round between two removals, of which no file stays;
        see :meth:`prove` and :meth:`end` for what it raises.
        """
        with tempfile.TemporaryDirectory(prefix="graphprune-") as folder:
            path = Path(folder) / "model.onnx"
            self.prove(small, path)
            better = self.trained(self.repaired(small))
            self.end(small, better, path)
        return better

    def sweep(self) -> None:
        """Delete the checkpoints, when the result is in place."""
        training = self._options.recovery.finetune
        if training is not None and training.checkpoint is not None:
            for number in range(len(self.training)):
                checkpoint.sweep(checkpoint.numbered(training.checkpoint, number))
        heals = self._options.recovery.healing
        if heals is not None and heals.checkpoint is not None:
            checkpoint.sweep(heals.checkpoint)


def fitter(loaded: LoadedRun, options: RunOptions, steps: Callable[[], Sequence[Removal]]) -> Fitter:
    """Fits linear maps to the samples of a run; ``steps`` tells what has led to the network that is to have them."""

    def fit(analysis: ModelAnalysis, maps: Sequence[LinearMap]) -> list[LinearMap]:
        progress = partial(options.progress, "fitting linear maps")
        return fitted(loaded.model, steps(), analysis, maps, loaded.data, options.batch, options.runtime, progress)

    return fit


_HEAL = "heal="


def healing_noted(options: RunOptions) -> tuple[str, ...]:
    """How the healing stands among the repairs of a plan."""
    heals = options.recovery.healing
    return () if heals is None else (_HEAL + budget_of(heals),)


def noted(plan: Plan) -> tuple[tuple[str, ...], TrainOptions | None]:
    """The repairs of a plan, and how to heal.

    Raises
    ------
    OptionError
        It says so in words that are none.
    """
    healings = [word.removeprefix(_HEAL) for word in plan.repair if word.startswith(_HEAL)]
    methods = tuple(word for word in plan.repair if not word.startswith(_HEAL))
    return methods, healing(healings[0]) if healings else None


def repairs(options: RunOptions, data: Data) -> tuple[Method, ...]:
    """What was asked for; by default what serves best, if there are real samples.

    Raises
    ------
    OptionError
        A repair was asked for, and there is no data.
    """
    asked = options.recovery.repair
    if asked is None:
        return () if data.kind == "synthetic" else DEFAULT
    if asked and data.kind == "synthetic":
        raise OptionError("a repair fits weights to samples, and there are none", "add --data, or --repair none")
    return asked
