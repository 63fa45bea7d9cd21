"""Rounds: what was removed since the last one is proved, then repaired, then trained if asked for."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from graphprune.analysis.model_analysis import ModelAnalysis, analyse
from graphprune.data.dataset import Data, load_data
from graphprune.errors import OptionError
from graphprune.evaluation.accuracy import Evaluation
from graphprune.ir import export
from graphprune.repair.outcome import RepairReport
from graphprune.repair.stage import DEFAULT, Method, repair
from graphprune.rewrite.removal import Removal
from graphprune.run.loaded import LoadedRun
from graphprune.run.options import RunOptions
from graphprune.training import TrainingReport, checkpoint, finetune
from graphprune.validation.validate import Validation, check_normalisation, check_written, validate

Judge = Callable[[Path], Evaluation | None]


class Rounds:
    """The removals made so far, and what followed each round of them.

    ``fresh`` are the steps since the last round; :func:`graphprune.rewrite.apply.execute` adds to them. ``unrepaired`` is how good
    the network was before the last repair and training.
    """

    def __init__(self, subject: LoadedRun, options: RunOptions) -> None:
        self._subject, self._options = subject, options
        self._done: list[Removal] = []
        self.fresh: list[Removal] = []
        self.validation: Validation | None = None
        self.repair: RepairReport | None = None
        self.training: list[TrainingReport] = []
        self.unrepaired: Evaluation | None = None

    @property
    def steps(self) -> tuple[Removal, ...]:
        """All removals so far."""
        return (*self._done, *self.fresh)

    def close(
        self,
        small: ModelAnalysis,
        judge: Judge = lambda path: None,
        written: Path | None = None,
        proved: Callable[[Path], None] = lambda path: None,
    ) -> ModelAnalysis:
        """Prove, repair and train ``small``, and leave it in the file ``written``; ``judge`` evaluates a file.

        ``proved`` is called with the file before anything is done to its weights.

        Raises
        ------
        ValidationFailed
            It does not compute what it should, or does not run afterwards.
        """
        if written is None:
            with tempfile.TemporaryDirectory(prefix="graphprune-") as folder:
                return self.close(small, judge, Path(folder) / "model.onnx", proved)
        self._options.progress("writing", 0, 0)
        export.write(small.model, written)
        self._prove(small, written)
        proved(written)
        self._done += self.fresh
        methods = repairs(self._options, self._subject.data)
        if not self._done or not (methods or self._options.finetune):
            return small
        self.unrepaired = judge(written)
        better = self._trained(self._repaired(small, methods)) if self.fresh else small
        self.fresh = []
        written.with_name(f"{written.name}.data").unlink(missing_ok=True)  # the new file may need none
        export.write(better.model, written)
        check_written(written, small.model, self._subject.data.first(1), self._options.runtime)
        return better

    def _prove(self, small: ModelAnalysis, written: Path) -> None:
        data, options = self._subject.data, self._options
        options.progress("validating", 0, 0)
        if not self._done:
            check_normalisation(self._subject.model, data, options.batch, options.runtime)
        found = validate(self.fresh or [Removal(small.model)], written, data, options.batch, options.runtime)
        worst = max(found.max_relative_error, self.validation.max_relative_error if self.validation else 0.0)
        self.validation = replace(found, max_relative_error=worst)

    def _repaired(self, small: ModelAnalysis, methods: tuple[Method, ...]) -> ModelAnalysis:
        if not methods:
            return small
        subject, options = self._subject, self._options
        repaired, self.repair = repair(
            subject.model, small.model, self._done, small.sizes, subject.data, options.batch, methods,
            options.runtime, options.progress,
        )  # fmt: skip
        return analyse(repaired, subject.feeds, options.runtime)

    def _trained(self, small: ModelAnalysis) -> ModelAnalysis:
        subject, options = self._subject, self._options
        if options.finetune is None:
            return small
        training = options.finetune
        if training.checkpoint is not None:
            training = replace(training, checkpoint=self._checkpoint(len(self.training)))
        data = load_data(options.training_data, small.model, None)
        trained, report = finetune(small.model, subject.model, data, training, options.progress)
        self.training.append(report)
        return analyse(trained, subject.feeds, options.runtime)

    def sweep(self) -> None:
        """Delete the checkpoints, when the result is in place."""
        for number in range(len(self.training)):
            if self._options.finetune is not None and self._options.finetune.checkpoint is not None:
                checkpoint.sweep(self._checkpoint(number))

    def _checkpoint(self, number: int) -> Path:
        """Each round has its own."""
        assert self._options.finetune is not None and self._options.finetune.checkpoint is not None
        path = self._options.finetune.checkpoint
        return path.with_name(f"{path.name}.{number + 1}")


def repairs(options: RunOptions, data: Data) -> tuple[Method, ...]:
    """What was asked for; by default what serves best, if there are real samples.

    Raises
    ------
    OptionError
        A repair was asked for, and there is no data.
    """
    if options.repair is None:
        return () if data.kind == "synthetic" else DEFAULT
    if options.repair and data.kind == "synthetic":
        raise OptionError("a repair fits weights to samples, and there are none", "add --data, or --repair none")
    return options.repair
