"""Everything about a run that is not the decision itself, in groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.base.progress import Progress, silent
from graphprune.data.image_options import ImageOptions
from graphprune.errors import OptionError
from graphprune.evaluation.metric import MetricFunction
from graphprune.ir.output_files import cache_folder
from graphprune.plan.plan import Decision
from graphprune.repair.stage import Method
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.text.options import TextOptions
from graphprune.text.source import Limit
from graphprune.training import TrainOptions
from graphprune.workers import Backend

HELD_OUT_TEXT = "text"
"""The ``evaluation`` that is a part of the calibration text."""
HELD_OUT_PART = "held-out"
"""The ``evaluation`` that is a part of the calibration data, whatever they are."""

Between = Callable[[Decision, ModelAnalysis, float], None]
"""Called between passes: what the last one decided (``spec`` names it), the network that it left,
and the seconds it took.
"""


@dataclass(frozen=True)
class DataOptions:
    """What the samples are: ``samples`` limits calibration (None = all, ``auto`` = 512, of text as many chunks as hold
    32,768 tokens), ``evaluation`` is any data source, held out; ``text``: the last tenth of the text that the
    calibration data are, which then come from the rest; ``held-out``: the same, or of other data every fifth sample and
    those beyond ``samples``, 2,000 at most.

    ``metric`` judges on it: ``script.py:function`` or a function, called for each network with an iterator of (outputs
    by name, inputs and labels by name) batch by batch; it returns one number.

    ``batch_axes`` says which axis of an input counts samples, by input name (None: one array serves all samples of a
    run); of the others it is found. ``text`` and ``images`` are how these become samples. ``shapes`` and ``ranges`` are
    for made-up inputs, by input name ("" = any); with ``require_data`` there are none, with ``allow_made_up`` also for
    passes that score on samples.
    """

    samples: Limit = "auto"
    evaluation: Any = None
    metric: str | MetricFunction | None = None
    batch_axes: Mapping[str, int | None] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    require_data: bool = False
    allow_made_up: bool = False
    text: TextOptions = field(default_factory=TextOptions)
    images: ImageOptions = field(default_factory=ImageOptions)

    @property
    def holds_text_out(self) -> bool:
        """Whether the evaluation is on a part of the calibration text."""
        return isinstance(self.evaluation, str) and self.evaluation == HELD_OUT_TEXT


@dataclass(frozen=True)
class TimingOptions:
    """How the result is timed: on ``batch`` samples for at least ``seconds``, or not at all (``measure_latency``).

    A result that is not faster is refused, unless ``allow_slower``. Measured times of layers and widths are kept in
    ``cache_dir`` (None: the user's cache) if ``use_cache``.
    """

    batch: int = 1
    seconds: float = 2.0
    measure_latency: bool = True
    allow_slower: bool = False
    cache_dir: Path | None = None
    use_cache: bool = True

    @property
    def cache_folder(self) -> Path | None:
        """Where measured times are kept; None = nowhere."""
        return (self.cache_dir or cache_folder()) if self.use_cache else None


@dataclass(frozen=True)
class RecoveryOptions:
    """What follows a removal: ``repair`` names repairs in order; None takes the default where there are samples.

    ``finetune`` trains the network after every pass, or in rounds after every removal, on ``training_data`` (default:
    all of the calibration data). ``heal`` follows the last repair: what :func:`graphprune.training.healing` gives, on
    ``heal_data`` (default: the same); None takes what a plan says, ``none`` leaves it out.
    """

    repair: tuple[Method, ...] | None = None
    finetune: TrainOptions | None = None
    finetune_every: Literal["pass", "removal"] = "pass"
    training_data: Any = None
    heal: TrainOptions | Literal["none"] | None = None
    heal_data: Any = None

    @property
    def healing(self) -> TrainOptions | None:
        """How to heal, if at all."""
        return None if isinstance(self.heal, str) else self.heal


@dataclass(frozen=True)
class WorkerOptions:
    """Who scores: ``jobs`` processes (-1 = one per core, None = this one), or the workers of a cluster.

    ``cluster`` is the address of the ``backend``'s scheduler. The result does not show who did the work.
    """

    jobs: int | None = None
    backend: Backend | None = None
    cluster: str | None = None


@dataclass(frozen=True)
class RunOptions:
    """Everything about a run that is not the decision itself.

    ``batch`` is for scoring and validation; fewer run where their outputs would take over 128 MiB. Widths are kept to
    multiples of ``align``; "auto" takes what the runtime was measured to like. ``keep`` names layers, blocks and groups
    that stay, ``only`` those that alone may go: globs, or regular expressions after ``re:``. ``quantise`` makes a
    second file in int8 of the result. ``report`` is an HTML file
    to write; ``command`` is what the user typed, for that report. ``between`` is called after each decision of a pass.
    """

    seed: int = 0
    batch: int = 32
    align: int | Literal["auto"] = "auto"
    keep: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    data: DataOptions = field(default_factory=DataOptions)
    timing: TimingOptions = field(default_factory=TimingOptions)
    recovery: RecoveryOptions = field(default_factory=RecoveryOptions)
    workers: WorkerOptions = field(default_factory=WorkerOptions)
    runtime: RuntimeOptions = field(default_factory=RuntimeOptions)
    quantise: Literal["int8"] | None = None
    report: Path | None = None
    command: str = ""
    progress: Progress = silent
    between: tuple[Between, ...] = ()


def given_options(options: RunOptions | None) -> RunOptions:
    """The options given, or those by default.

    Raises
    ------
    OptionError
        They are something else, a dict for example.
    """
    if options is None:
        return RunOptions()
    if not isinstance(options, RunOptions):
        raise OptionError(
            f"options is a {type(options).__name__}", "give graphprune.RunOptions(...), e.g. RunOptions(batch=8)"
        )
    return options
