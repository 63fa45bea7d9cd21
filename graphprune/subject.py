"""The thing under the knife: a loaded model with its data and its anatomy at one sample."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import onnx

from graphprune.anatomy import Anatomy, look_at
from graphprune.contract import Progress
from graphprune.data import DEFAULT_SAMPLES, Data, load_data, synthetic
from graphprune.errors import DataError, ModelError
from graphprune.loading import load
from graphprune.model import Model
from graphprune.outputs import cache_folder
from graphprune.repair.stage import Method
from graphprune.runtime.sessions import Feeds, RuntimeOptions
from graphprune.structure.blocks import Block
from graphprune.training import TrainOptions
from graphprune.workers import Backend

Source = str | os.PathLike[str] | onnx.ModelProto

_SYNTHETIC_SAMPLES = 64
_QUANTISED_PREFIXES = ("QLinear", "QAttention", "QGemm")
_QUANTISED = {
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "ConvInteger",
    "MatMulInteger",
    "MatMulNBits",
}
_LAYOUT_DOMAIN = "com.microsoft.nchwc"
NO_DATA_NOTE = "NO CALIBRATION DATA: scores and checks come from synthetic inputs and mean little; add --data"
CHECKS_ONLY_NOTE = "no calibration data: the scores need none, the checks ran on made-up inputs"


def _silent(task: str, done: int, total: int, /) -> None:
    """No progress shown."""


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
    ``command`` is what the user typed, for that report.
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
    progress: Progress = _silent

    @property
    def cache_folder(self) -> Path | None:
        """Where measured times are kept; None = nowhere."""
        return (self.cache_dir or cache_folder()) if self.use_cache else None


@dataclass(frozen=True)
class Subject:
    """``feeds`` is one sample, ``anatomy`` the structure seen at its sizes; ``notes`` are for the user's eyes."""

    anatomy: Anatomy
    data: Data
    feeds: Feeds
    notes: tuple[str, ...]

    @property
    def model(self) -> Model:
        return self.anatomy.model

    @property
    def blocks(self) -> list[Block]:
        return [join.block for join in self.anatomy.joins if join.block]

    @property
    def file_bytes(self) -> int:
        """Size of the model file, with its external data."""
        source = self.model.source
        if isinstance(source, onnx.ModelProto) or self.model.folder is not None:
            return self.anatomy.cost.bytes
        return Path(source).stat().st_size


def prepare(source: Source, data: Any, options: RunOptions) -> Subject:
    """Load a model, bind its data (or make some up) and look at it.

    Raises
    ------
    ModelError, DataError, RuntimeMissing
        The model or the data cannot be used, or there is no runtime.
    """
    options.progress("loading", 0, 0)
    model = load(source)
    _refuse_late(model)
    if data is not None:
        bound = load_data(data, model, options.samples)
    elif options.require_data:
        raise DataError("no calibration data was given and --require-data is set", "add --data")
    else:
        bound = synthetic(model, options.seed, _SYNTHETIC_SAMPLES, options.shapes, options.ranges)
    feeds = bound.first(1)
    notes = (NO_DATA_NOTE,) if bound.kind == "synthetic" else ()
    return Subject(look_at(model, feeds, options.runtime), bound, feeds, notes)


def _refuse_late(model: Model) -> None:
    """Pruning comes before quantisation and before optimisation for one machine."""
    for node in model.graph.nodes:
        if node.op.startswith(_QUANTISED_PREFIXES) or node.op in _QUANTISED:
            raise ModelError(
                f"the model is quantised (node '{node.name}' is a {node.op}), and rounding hides what a rewrite does",
                "prune the float model, then quantise the result",
            )
        if node.domain == _LAYOUT_DOMAIN:
            raise ModelError(
                f"the model was optimised for one processor (node '{node.name}' is of {_LAYOUT_DOMAIN})",
                "prune the model as exported; the runtime optimises the result again",
            )
