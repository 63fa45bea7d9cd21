"""Several models side by side on the same samples: clean, attacked, corrupted, calibrated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from graphprune.data.dataset import Data
from graphprune.data.image_options import ImageOptions
from graphprune.errors import DataError, ModelError, OptionError
from graphprune.evaluation import calibration
from graphprune.evaluation.attacks import Attack, perturb
from graphprune.evaluation.compared import Compared
from graphprune.evaluation.corruptions import FAMILIES, SEVERITIES, Corruption, check_packages, corrupt
from graphprune.evaluation.energy import InferenceEnergy, inference_energy, known_country
from graphprune.evaluation.language import Mean, TextScores
from graphprune.evaluation.metric import MetricFunction, load_metric
from graphprune.evaluation.moves import Move, variants
from graphprune.evaluation.network import differentiable
from graphprune.evaluation.pixels import PixelSpace, pixel_space
from graphprune.evaluation.robustness_report import ConditionKind, ConditionRow, RobustnessReport
from graphprune.evaluation.rows import calibration_rows, mean_row, row
from graphprune.evaluation.samples import JudgedModel, Samples, check_labels, gather
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.text.corpus import is_text
from graphprune.text.options import TextOptions
from graphprune.text.source import Limit

DEFAULT_SAMPLES = 1_000
_CHUNK = 256  # images corrupted at a time

Progress = Callable[[str, int, int], None]


def _silent(task: str, done: int, total: int, /) -> None:
    """No progress shown."""


@dataclass(frozen=True)
class EvaluationOptions:
    """What to run besides clean top-1 and calibration.

    ``pixel_mean`` and ``pixel_std`` as in :func:`graphprune.evaluation.pixels.pixel_space`.
    ``metric`` is a function of the user's own, as :class:`graphprune.run.options.DataOptions` has it.
    ``samples``: ``auto`` is 1,000, of text as many chunks as hold 32,768 tokens. ``text`` and ``images`` are how
    these become samples.
    ``energy_country`` turns the measurement of inference energy on.
    """

    attacks: tuple[Attack, ...] = ()
    moves: tuple[Move, ...] = ()
    corruptions: tuple[Corruption, ...] = ()
    severities: tuple[int, ...] = SEVERITIES
    pixel_mean: np.ndarray | None = None
    pixel_std: np.ndarray | None = None
    metric: str | MetricFunction | None = None
    samples: Limit = "auto"
    batch: int = 32
    seed: int = 0
    energy_country: str | None = None
    energy_seconds: float = 5.0
    runtime: RuntimeOptions = field(default_factory=RuntimeOptions)
    progress: Progress = _silent
    text: TextOptions = field(default_factory=TextOptions)
    images: ImageOptions = field(default_factory=ImageOptions)


def evaluate_models(paths: Sequence[Path], source: Any, options: EvaluationOptions) -> RobustnessReport:
    """Evaluate the model files at ``paths``; the first is what the others are compared with.

    ``source`` is anything :func:`graphprune.text.source.open_data` reads; the same samples, corrupted in the same way,
    go to every model. Attacks are made against each model on its own and judged on ONNX Runtime.

    Raises
    ------
    GraphpruneError
        A model, the data or an option cannot be used, or a package that they need is not installed.
    """
    wants_scores = bool(options.attacks or options.moves or options.corruptions or options.energy_country)
    if options.metric is not None and wants_scores:
        raise OptionError("a metric judges clean samples only", "leave out attacks, corruptions and energy")
    limit = DEFAULT_SAMPLES if options.samples == "auto" and not is_text(source) else options.samples
    if wants_scores and is_text(source):
        raise OptionError("attacks, corruptions and energy are of class scores, the data are text", "leave them out")
    compared = None
    if not wants_scores:
        compared = Compared(paths, source, limit, options.batch, options.runtime, options.text, options.images)
        if options.metric is None and (scores := compared.text_scores()) is not None:
            return _of_text(compared.data, scores, paths, options)
    if compared is not None and (options.metric is not None or not compared.are_classifiers):
        return _of_outputs(compared, paths, options)
    most = DEFAULT_SAMPLES if limit == "auto" else limit
    samples, judges = gather(list(paths), source, most, options.batch, options.runtime, options.images)
    # What can be refused is refused before the long part.
    if options.energy_country is not None:
        known_country(options.energy_country)
    check_packages(options.corruptions)
    wants_pixels = bool(options.attacks or options.moves or options.corruptions)
    space = pixel_space(samples.inputs, options.pixel_mean, options.pixel_std) if wants_pixels else None
    run = _Run(samples, judges, options)
    rows = list(run.clean())
    if space is not None:
        networks = (
            [differentiable(judge.path, samples, scores) for judge, scores in run.pairs()] if options.attacks else []
        )
        rows += [run.attacked(attack, networks, space) for attack in options.attacks]
        rows += [run.moved(move, space) for move in options.moves]
        rows += run.corrupted(space)
    energy: tuple[InferenceEnergy, ...] = ()
    if options.energy_country is not None:
        options.progress("measuring energy", 0, 0)
        work = [_pass_over(judge, samples) for judge in judges]
        energy = tuple(inference_energy(work, options.energy_country, seconds=options.energy_seconds))
    return RobustnessReport(
        models=tuple(map(str, paths)),
        source=samples.origin,
        samples=len(samples),
        reference="decisions" if samples.labels is None else "labels",
        rows=tuple(rows),
        settings=_settings(options, samples, space),
        energy=energy,
        notes=tuple(run.notes()),
    )


def _of_text(
    data: Data, scores: Sequence[TextScores], paths: Sequence[Path], options: EvaluationOptions
) -> RobustnessReport:
    """The report on language models: perplexity, agreement and divergence over the same chunks."""
    chunks = len(scores[0].tokens)
    if chunks < 2:
        raise DataError(f"{data.origin} makes one, from which no error can be estimated", "give more text")
    columns: tuple[tuple[ConditionKind, str, list[Mean]], ...] = (
        ("text", "perplexity", [each.perplexity for each in scores]),
        ("clean", "agreement", [each.agreement for each in scores]),
        ("text", "KL to the first, nats", [each.kl_nats for each in scores]),
    )
    rows = (
        ConditionRow(
            kind,
            name,
            "",
            tuple(mean.estimate for mean in means),
            tuple(mean.beyond(means[0]) for mean in means[1:]),
        )
        for kind, name, means in columns
    )
    return RobustnessReport(
        models=tuple(map(str, paths)),
        source=data.origin,
        samples=chunks,
        reference="text",
        rows=tuple(rows),
        settings={"provider": options.runtime.provider_name, "next_tokens": sum(scores[0].tokens)},
    )


def _of_outputs(compared: Compared, paths: Sequence[Path], options: EvaluationOptions) -> RobustnessReport:
    """The report on outputs that are no class scores, or on the user's own metric."""
    metric = None if options.metric is None else load_metric(options.metric)
    if metric is not None:
        compared.data = replace(compared.data, has_free_labels=True)
    options.progress("comparing outputs", 0, 0)
    outputs, samples = compared.outputs(metric)
    return RobustnessReport(
        models=tuple(map(str, paths)),
        source=compared.data.origin,
        samples=samples,
        reference="outputs",
        rows=(),
        settings={"seed": options.seed, "batch": options.batch, "provider": options.runtime.provider_name},
        outputs=outputs,
        metric=metric[0] if metric else "",
    )


class _Run:
    """The models' clean answers, and everything that is measured against them."""

    def __init__(self, samples: Samples, judges: list[JudgedModel], options: EvaluationOptions) -> None:
        self._samples, self._judges, self._options = samples, judges, options
        options.progress("clean", 0, len(judges))
        self._scores = [judge(samples.inputs) for judge in judges]
        widths = {scores.shape[1] for scores in self._scores}
        if len(widths) > 1:
            raise ModelError(
                f"the models have different numbers of classes ({sorted(widths)})", "compare like with like"
            )
        check_labels(samples, min(widths))
        self._own = [scores.argmax(1) for scores in self._scores]
        self._notes: list[str] = []

    def pairs(self) -> zip[tuple[JudgedModel, np.ndarray]]:
        return zip(self._judges, self._scores, strict=True)

    def notes(self) -> list[str]:
        if self._samples.labels is None:
            self._notes.insert(0, "no labels: a model is right where it repeats its own clean decision")
        if self._options.attacks:
            ending = [j.path.name for j, scores in self.pairs() if calibration.are_probabilities(scores)]
            self._notes += [f"{name} ends in a softmax, which hides gradients where it is sure" for name in ending]
        return self._notes

    def _truth(self, which: int) -> np.ndarray:
        labels = self._samples.labels
        return self._own[which] if labels is None else labels

    def clean(self) -> list[ConditionRow]:
        labels = self._samples.labels
        if labels is None:
            return [row("clean", "agreement", "", [own == self._own[0] for own in self._own])]
        rows = [row("clean", "top-1", "", [own == labels for own in self._own])]
        return rows + calibration_rows(self._scores, labels, self._options.seed)

    def attacked(self, attack: Attack, networks: list[Any], space: PixelSpace) -> ConditionRow:
        samples, batch = self._samples, self._samples.batch
        right, blind = [], []
        for which, (network, judge) in enumerate(zip(networks, self._judges, strict=True)):
            truth, parts = self._truth(which), []
            softmax = calibration.are_probabilities(self._scores[which])
            for start in range(0, len(samples), batch):
                self._options.progress(f"{attack.name} {judge.path.name}", start, len(samples))
                part = slice(start, start + batch)
                parts.append(
                    perturb(
                        network,
                        samples.inputs[part],
                        truth[part],
                        attack,
                        space,
                        ends_in_softmax=softmax,
                        seed=self._options.seed,
                        first=start,
                    )
                )
            moved = np.concatenate([part.inputs for part in parts])
            right.append(judge(moved).argmax(1) == truth)
            blind.append(sum(part.blind for part in parts))
            if blind[-1]:
                self._notes.append(
                    f"{judge.path.name} gives no gradient on {blind[-1]} of {len(samples)} images: its {attack.name} "
                    "figure is an upper bound"
                )
        if not any(hits.any() for hits in right):
            self._notes.append(
                f"{attack.name} at epsilon {attack.epsilon:.4g} leaves no model anything: compare at less"
            )
        return row("attack", attack.name, f"{attack.epsilon:.6g}", right, tuple(blind))

    def moved(self, move: Move, space: PixelSpace) -> ConditionRow:
        """Right is a model that no way of moving an image leads astray."""
        samples = self._samples
        right = [np.ones(len(samples), bool) for _ in self._judges]
        for number, pixels in enumerate(variants(space.to_pixels(samples.inputs), move)):
            self._options.progress(move.name, number, 9)
            inputs = space.to_inputs(pixels, samples.inputs.dtype)
            for which, judge in enumerate(self._judges):
                right[which] &= judge(inputs).argmax(1) == self._truth(which)
        return row("attack", move.name, str(move.pixels), right)

    def corrupted(self, space: PixelSpace) -> list[ConditionRow]:
        kinds, levels = self._options.corruptions, self._options.severities
        kinds = self._without_colour(kinds)
        steps, done = len(kinds) * len(levels), 0
        pixels = space.to_pixels(self._samples.inputs)
        rows: list[ConditionRow] = []
        per_kind: dict[str, list[np.ndarray]] = {}
        for kind in kinds:
            hits = [np.zeros(len(pixels)) for _ in self._judges]
            for level in levels:
                self._options.progress(kind.name, done, steps)
                right = self._answers(pixels, kind, level, space)
                rows.append(row("corruption", kind.name, str(level), right))
                hits = [hit + now for hit, now in zip(hits, right, strict=True)]
                done += 1
            per_kind[kind.name] = [hit / len(levels) for hit in hits]
            rows.append(row("corruption", kind.name, "", per_kind[kind.name]))
        for family in FAMILIES:
            members = [kind.name for kind in kinds if kind.family == family]
            if members:
                rows.append(mean_row(family, members, per_kind))
        if kinds:
            rows.append(mean_row("corruptions", [kind.name for kind in kinds], per_kind))
        return rows

    def _without_colour(self, kinds: tuple[Corruption, ...]) -> tuple[Corruption, ...]:
        channels = self._samples.inputs.shape[1]
        if kinds and channels not in (1, 3):
            raise ModelError(
                f"corruptions are made for 1 or 3 channels, the images have {channels}", "leave out --corruptions"
            )
        left_out = [kind.name for kind in kinds if kind.needs_colour and channels == 1]
        if left_out:
            self._notes.append(f"grey images: {', '.join(left_out)} left out")
        return tuple(kind for kind in kinds if kind.name not in left_out)

    def _answers(self, pixels: np.ndarray, kind: Corruption, level: int, space: PixelSpace) -> list[np.ndarray]:
        """Per model, whether each sample is right under one corruption; the images are made once for all models."""
        parts: list[list[np.ndarray]] = [[] for _ in self._judges]
        chunk = max(1, _CHUNK // self._samples.batch) * self._samples.batch  # a fixed batch size stays whole
        for start in range(0, len(pixels), chunk):
            spoilt = corrupt(pixels[start : start + chunk], kind, level, seed=self._options.seed, first=start)
            inputs = space.to_inputs(spoilt, self._samples.inputs.dtype)
            for which, judge in enumerate(self._judges):
                parts[which].append(judge(inputs).argmax(1) == self._truth(which)[start : start + chunk])
        return [np.concatenate(part) for part in parts]


def _pass_over(judge: JudgedModel, samples: Samples) -> Callable[[], int]:
    def work() -> int:
        return len(judge(samples.inputs))

    return work


def _settings(options: EvaluationOptions, samples: Samples, space: PixelSpace | None) -> dict[str, Any]:
    """What a reader needs to repeat the run."""
    images = space is not None
    return {
        "seed": options.seed,
        "batch": samples.batch,
        "attacks": [vars(attack) for attack in options.attacks],
        "moves": [vars(move) for move in options.moves],
        "corruptions": [kind.name for kind in options.corruptions],
        "severities": list(options.severities) if options.corruptions else [],
        "pixel_mean": _short(space.mean) if images and space else None,
        "pixel_std": _short(space.std) if images and space else None,
        "provider": options.runtime.provider_name,
    }


def _short(values: np.ndarray) -> list[float] | str:
    return [float(value) for value in values.ravel()] if values.size <= 16 else f"image {list(values.shape)}"
