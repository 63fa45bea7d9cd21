"""``graphprune grow``: blocks added to the stages of a network, to one that is named or where it pays.

Jordao, Lie and Schwartz, "Stage-Wise Neural Architecture Search" (ICPR 2020): a network is trained, and another whose
stages are all deeper; the stages whose last join gains in mean VIP keep the blocks, and so on until none does.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from graphprune.analysis.blocks import Join
from graphprune.analysis.model_analysis import ModelAnalysis, analyse
from graphprune.analysis.stages import is_cnn
from graphprune.base import extras
from graphprune.data.dataset import Data
from graphprune.errors import InputError, NothingToPrune, OptionError
from graphprune.ir import export, output_files
from graphprune.ir.model import Model
from graphprune.pipeline.training_energy import Meter, metered
from graphprune.report.growth import GrownNetwork, Growth, GrowthStep
from graphprune.report.html.growth import growth_page
from graphprune.rewrite.growth import Start, add_blocks, block_to_copy
from graphprune.rewrite.initialise import initialise
from graphprune.run.loaded import LoadedRun, Source, prepare
from graphprune.run.options import RunOptions, given_options
from graphprune.scoring.join_vip import join_vips
from graphprune.text.source import open_data
from graphprune.training import TrainOptions, checkpoint, train
from graphprune.validation.grown import check_grown
from graphprune.validation.validate import check_same_but_for_weights

_COMPONENTS = 2
_WINDOW = 8


def grow_stage(
    source: Source,
    output: Path,
    stage: int,
    blocks: int,
    *,
    start: Start = "fresh",
    seed: int = 0,
    data: Any = None,
    options: RunOptions | None = None,
) -> Growth:
    """Write ``source`` with ``blocks`` more in one ``stage``; nothing is trained.

    Raises
    ------
    ModelError, NothingToPrune, OptionError
        There is no such stage, or its blocks cannot be copied.
    ValidationFailed
        The result does not do without the blocks what it did before or, with ``identity``, with them.
    """
    run = _Run(source, output, data, start, seed, given_options(options))
    grown, joins = run.with_blocks(run.loaded.analysis, [stage], blocks)
    with output_files.staged(output) as path, run.report() as report:
        run.check(run.loaded.analysis.model, grown, joins, path)
        first, network = (_described(each) for each in (run.loaded.analysis, run.analysed(grown)))
        step = GrowthStep(network, (stage,), network)
        return report(run.growth(blocks, "", first, [step], f"stage {stage} was named"))


def grow(
    source: Source,
    output: Path,
    data: Any,
    training: TrainOptions,
    *,
    iterations: int = 5,
    blocks: int = 2,
    start: Start = "fresh",
    seed: int = 0,
    evaluation: Any = None,
    samples: int | None = None,
    options: RunOptions | None = None,
    meter: Meter | None = None,
) -> Growth:
    """Grow ``source`` where it pays, train every network on the way, and write the last one.

    ``fresh``, as in the paper, draws all weights anew for each network; ``identity`` goes on with those that are there.
    ``samples`` limits the labelled ``data``, ``evaluation`` judges the epochs of each training. With a checkpoint every
    training keeps its own, numbered, until the output is written, and ``resume`` goes on from them. ``meter`` measures
    the energy of all trainings.

    Raises
    ------
    DataError, OptionError
        There are no labels, or no stage can grow.
    InputError
        A checkpoint of an earlier run is there and not to be resumed, or belongs to another run.
    ValidationFailed
        As :func:`grow_stage`.
    RuntimeMissing
        codecarbon is to measure, and is not installed.
    """
    if training.checkpoint is not None and not training.resume:
        first_kept = checkpoint.numbered(training.checkpoint, 0)
        if first_kept.exists():
            raise InputError(f"the checkpoint {first_kept} of an earlier run is there", "add --resume, or delete it")
    run = _Run(source, output, data, start, seed, given_options(options))
    model = run.loaded.model
    run.samples = open_data(data, model, samples, run.loaded.data.batching)
    run.judged = None if evaluation is None else open_data(evaluation, model, None, run.loaded.data.batching)
    stages = run.growable()
    steps: list[GrowthStep] = []
    limit = f"{iterations} iterations"
    with metered(meter) as with_energy:
        base, now = run.trained(run.anew(model), training)
        first = now
        for _ in range(iterations):
            deeper, joins = run.with_blocks(base, stages, blocks)
            run.check(base.model, deeper, joins)
            tried, figures = run.trained(run.anew(deeper), training)
            grown = [stage for stage in stages if _of(figures, stage) > _of(now, stage)]
            if grown == stages:  # the same network with the same seed
                base, now = tried, figures
            elif grown:
                larger, joins = run.with_blocks(base, grown, blocks)
                run.check(base.model, larger, joins)
                base, now = run.trained(run.anew(larger), training)
            steps.append(GrowthStep(figures, tuple(grown), now))
            if not grown:
                limit = "no stage gained by more blocks"
                break
    with output_files.staged(output) as path, run.report() as report:
        export.write(base.model, path)
        check_same_but_for_weights(path, base.model, run.loaded.feeds, run.options.runtime)
        told = str(replace(training, checkpoint=None, resume=False))
        found = report(with_energy(run.growth(blocks, told, first, steps, limit)))
    run.sweep(training)
    return found


class _Run:
    """What all steps share; ``difference`` is the largest of the checks so far."""

    def __init__(self, source: Source, output: Path, data: Any, start: Start, seed: int, options: RunOptions) -> None:
        self.options, self._source, self._output, self._start, self._seed = options, source, output, start, seed
        reads = output_files.source_files(source, data)
        output_files.check_output(output, reads)
        if options.report is not None:
            extras.jinja2()
            extras.matplotlib()
            output_files.check_output(options.report, [*reads, output])
        self.loaded: LoadedRun = prepare(source, data, options)
        output_files.spare_weights(output, self.loaded.model)
        self.samples: Data = self.loaded.data
        self.judged: Data | None = None
        self.difference = 0.0
        self._trainings = 0

    @contextmanager
    def report(self) -> Iterator[Callable[[Growth], Growth]]:
        """Hands its growth on, with the report on it beside the model if one is asked for."""
        with output_files.aside(self.options.report) as path:

            def write(found: Growth) -> Growth:
                if path is not None:
                    path.write_text(growth_page(found, self.options.command), encoding="utf-8")
                return found

            yield write

    def sweep(self, training: TrainOptions) -> None:
        """Delete the checkpoints, when the result is in place."""
        if training.checkpoint is not None:
            for number in range(self._trainings):
                checkpoint.sweep(checkpoint.numbered(training.checkpoint, number))

    def growable(self) -> list[int]:
        """The stages with a block that can be copied.

        Raises
        ------
        NothingToPrune
            There is none.
        """
        joins = self.loaded.analysis.joins
        found, why = [], NothingToPrune("the network has no residual blocks", "grow one that has")
        for stage in sorted(_stages(joins)):
            try:
                block_to_copy(joins, stage)
                found.append(stage)
            except NothingToPrune as error:
                why = error
        if not found:
            raise why
        return found

    def with_blocks(self, base: ModelAnalysis, stages: Sequence[int], count: int) -> tuple[Model, list[str]]:
        """The network with ``count`` more blocks in each of ``stages``, and the joins of these."""
        if count < 1:
            raise OptionError(f"a stage cannot grow by {count} blocks", "give 1 or more")
        model, joins = base.model, []
        for block in [block_to_copy(base.joins, stage) for stage in stages]:
            model, added = add_blocks(model, block, count, self._start, self._seed)
            joins += added
        return model, joins

    def check(self, before: Model, grown: Model, joins: Sequence[str], path: Path | None = None) -> None:
        """Write ``grown``, to ``path`` if that is to stay, and prove it."""
        with tempfile.TemporaryDirectory(prefix="graphprune-") as folder:
            place = path or Path(folder) / "grown.onnx"
            export.write(grown, place)
            self.options.progress("validating", 0, 0)
            found = check_grown(
                before,
                place,
                joins,
                self.loaded.data,
                self.options.batch,
                self.options.runtime,
                same=self._start == "identity",
            )
        self.difference = max(self.difference, found)

    def anew(self, model: Model) -> Model:
        """``model`` as its training begins."""
        return initialise(model, self._seed).model if self._start == "fresh" else model

    def analysed(self, model: Model) -> ModelAnalysis:
        return analyse(model, self.loaded.feeds, self.options.runtime)

    def trained(self, model: Model, training: TrainOptions) -> tuple[ModelAnalysis, GrownNetwork]:
        """``model`` after its training, with the importance of its stages."""
        started = time.perf_counter()
        if training.checkpoint is not None:
            training = replace(training, checkpoint=checkpoint.numbered(training.checkpoint, self._trainings))
        self._trainings += 1
        better, report, _ = train(model, self.samples, training, self.options.progress, self.judged)
        analysis = self.analysed(better)
        figures, _ = join_vips(
            better,
            [members[-1].output for _, members in sorted(_stages(analysis.joins).items())],
            self.samples,
            self.options.batch,
            self.options.runtime,
            is_maps=is_cnn(better, analysis.joins),
            window=_WINDOW,
            components=_COMPONENTS,
            progress=lambda done: self.options.progress("importance of the stages", done, 0),
        )
        network = replace(
            _described(analysis),
            importance=tuple(figure.mean for figure in figures),
            standard_errors=tuple(figure.standard_error for figure in figures),
            score=report.after.score,
            seconds=time.perf_counter() - started,
        )
        return analysis, network

    def growth(
        self, blocks: int, training: str, first: GrownNetwork, steps: Sequence[GrowthStep], limit: str
    ) -> Growth:
        return Growth(
            source=str(self._source),
            output=str(self._output),
            start=self._start,
            blocks=blocks,
            seed=self._seed,
            training=training,
            first=first,
            steps=tuple(steps),
            limit=limit,
            difference=self.difference,
        )


def _stages(joins: Sequence[Join]) -> dict[int, list[Join]]:
    found: dict[int, list[Join]] = {}
    for join in joins:
        if join.stage >= 0:
            found.setdefault(join.stage, []).append(join)
    return found


def _described(analysis: ModelAnalysis) -> GrownNetwork:
    depths = tuple(len(members) for _, members in sorted(_stages(analysis.joins).items()))
    return GrownNetwork(depths, analysis.cost.macs, analysis.cost.params)


def _of(network: GrownNetwork, stage: int) -> float:
    assert network.importance is not None
    return network.importance[stage]
