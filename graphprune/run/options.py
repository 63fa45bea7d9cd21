"""Everything about a run that is not the decision itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.base.progress import Progress, silent
from graphprune.data.dataset import DEFAULT_SAMPLES
from graphprune.ir.output_files import cache_folder
from graphprune.plan.plan import Decision
from graphprune.repair.stage import Method
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.training import TrainOptions
from graphprune.workers import Backend

Between = Callable[[Decision, ModelAnalysis, float], None]
"""Called between passes: what the last one decided (``spec`` names it), the network that it left, and the seconds it took."""


@dataclass(frozen=True)
class RunOptions:
    """Everything about a run that is not the decision itself.

    ``batch`` is for scoring and validation, ``bench_batch`` for the timing, which runs at least ``bench_seconds`` or not
    at all (``measure_latency``); a result that is not faster is refused, unless ``allow_slower``. ``samples`` limits calibration; ``evaluation`` is any data source; ``shapes`` and
    ``ranges`` are for synthetic inputs, by input name ("" = any). Widths are kept to multiples of ``align``; "auto" takes
    what the runtime was measured to like. ``repair`` names repairs in order; None takes the default where there are samples.
    Measured times of layers and widths are kept in ``cache_dir`` (None: the user's cache) if ``use_cache``.
    ``finetune`` trains the network after every pass, or in rounds after every removal, on ``training_data`` (default: all of
    the calibration data). Candidates are scored in ``jobs`` processes (-1 = one per core, None = in this one), or by the
    workers of the ``cluster`` (an address) of the ``backend``, which the result does not show. ``report`` is an HTML file to write;
    ``command`` is what the user typed, for that report. ``between`` is called after each decision of a pass.
    """

    seed: int = 0
    batch: int = 32
    bench_batch: int = 1
    bench_seconds: float = 2.0
    samples: int | None = DEFAULT_SAMPLES
    evaluation: Any = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    require_data: bool = False
    measure_latency: bool = True
    allow_slower: bool = False
    align: int | Literal["auto"] = "auto"
    cache_dir: Path | None = None
    use_cache: bool = True
    repair: tuple[Method, ...] | None = None
    finetune: TrainOptions | None = None
    finetune_every: Literal["pass", "removal"] = "pass"
    training_data: Any = None
    jobs: int | None = None
    backend: Backend | None = None
    cluster: str | None = None
    report: Path | None = None
    command: str = ""
    runtime: RuntimeOptions = field(default_factory=RuntimeOptions)
    progress: Progress = silent
    between: tuple[Between, ...] = ()

    @property
    def cache_folder(self) -> Path | None:
        """Where measured times are kept; None = nowhere."""
        return (self.cache_dir or cache_folder()) if self.use_cache else None
