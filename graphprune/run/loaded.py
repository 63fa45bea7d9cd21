"""A loaded model with its data and its analysis at one sample."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import onnx

from graphprune.analysis.blocks import Block
from graphprune.analysis.model_analysis import ModelAnalysis, analyse
from graphprune.data.dataset import Data
from graphprune.data.made_up import synthetic
from graphprune.decoder.known_sizes import with_known_sizes
from graphprune.errors import DataError, ModelError, OptionError
from graphprune.ir.bodies import all_nodes
from graphprune.ir.loading import load
from graphprune.ir.model import Model
from graphprune.ir.stays import NOTHING_STAYS, Stays
from graphprune.run.inputs import input_layout
from graphprune.run.notes import Note, NoteKind, notes_of
from graphprune.run.options import RunOptions
from graphprune.run.samples import calibration
from graphprune.runtime.known_answers import KnownAnswers
from graphprune.runtime.sessions import Feeds
from graphprune.text.corpus import is_text

Source = str | os.PathLike[str] | onnx.ModelProto


def check_source(source: object) -> None:
    """Refuse what is no model.

    Raises
    ------
    ModelError
        It is neither a path nor a ``ModelProto``.
    """
    if not isinstance(source, str | os.PathLike | onnx.ModelProto):
        raise ModelError(
            f"the model is of type {type(source).__name__}",
            "give the path of an .onnx file or folder, or a ModelProto",
        )


_SYNTHETIC_SAMPLES = 64
_QUANTISED_PREFIXES = ("QLinear", "QAttention", "QGemm")
_QUANTISED = {"DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"}
_LAYOUT_DOMAIN = "com.microsoft.nchwc"


@dataclass(frozen=True)
class LoadedRun:
    """``feeds`` is one sample, ``analysis`` the structure seen at its sizes.

    ``notes`` say which sizes were picked for the inputs, where none were given. ``known`` is what the network has said
    to the samples that results are judged on.
    """

    analysis: ModelAnalysis
    data: Data
    feeds: Feeds
    notes: tuple[Note, ...] = ()
    known: KnownAnswers = field(default_factory=KnownAnswers, compare=False, repr=False)

    @property
    def model(self) -> Model:
        return self.analysis.model

    @property
    def blocks(self) -> list[Block]:
        return [join.block for join in self.analysis.joins if join.block]

    @property
    def file_bytes(self) -> int:
        """Size of the model file, with its external data."""
        source = self.model.source
        if isinstance(source, onnx.ModelProto) or self.model.is_external:
            return self.analysis.cost.bytes
        return Path(source).stat().st_size


def prepare(source: Source, data: Any, options: RunOptions) -> LoadedRun:
    """Load a model, bind its data (or make some up) and look at it.

    Raises
    ------
    ModelError, DataError, OptionError, RuntimeMissing
        The model or the data cannot be used, or there is no runtime.
    """
    options.progress("loading", 0, 0)
    model = with_known_sizes(load(source))
    _refuse_late(model)
    stays = Stays(options.keep, options.only)
    said = options.data
    if data is None and said.require_data:
        raise DataError("no calibration data was given and --require-data is set", "add --data")
    if said.holds_text_out and not is_text(data):
        raise OptionError("--eval text judges on a part of --data, which is no text", "give --eval FILE.txt")
    on_cpu = replace(options.runtime, provider="cpu", extra=())  # other providers may build an engine for each size
    layout = input_layout(model, said.batch_axes, said.shapes, said.ranges, on_cpu, needs_shapes=data is None)
    if data is not None:
        bound = calibration(data, model, layout.batching, options)
    else:
        shapes = layout.shapes or said.shapes
        count = min(said.samples, _SYNTHETIC_SAMPLES) if isinstance(said.samples, int) else _SYNTHETIC_SAMPLES
        bound = synthetic(model, options.seed, count, shapes, said.ranges, layout.batching)
    feeds = bound.first(1)
    notes = notes_of(NoteKind.SIZES, [layout.note] if data is None and layout.note else [])
    analysis = analyse(model, feeds, options.runtime)
    if stays != NOTHING_STAYS:
        stays.check(_names(analysis))
        analysis = ModelAnalysis(replace(model, stays=stays), analysis.sizes, analysis.inputs)
    return LoadedRun(analysis, bound, feeds, notes)


def _names(analysis: ModelAnalysis) -> list[str]:
    """Of what may go and of all layers."""
    blocks = [join.block.name for join in analysis.all_joins if join.block]
    groups, nodes = analysis.groups, all_nodes(analysis.model.graph)
    return [*blocks, *(group.name for group in groups), *(node.name for node in nodes)]


def _refuse_late(model: Model) -> None:
    """Pruning comes before quantisation and before optimisation for one machine."""
    for node in model.graph.nodes:
        if node.op.startswith(_QUANTISED_PREFIXES) or node.op in _QUANTISED:
            raise ModelError(
                f"the model is quantised (node '{node.name}' is a {node.op}): it computes with integers",
                "prune the float model, then quantise the result (QuantizeLinear and DequantizeLinear are understood)",
            )
        if node.domain == _LAYOUT_DOMAIN:
            raise ModelError(
                f"the model was optimised for one processor (node '{node.name}' is of {_LAYOUT_DOMAIN})",
                "prune the model as exported; the runtime optimises the result again",
            )
