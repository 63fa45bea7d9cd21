"""The pruned network in int8 beside the float one: made, checked against both others, and timed against them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx

from graphprune.data.dataset import Data
from graphprune.decoder.interface import decoder_interface
from graphprune.errors import ModelError, OptionError
from graphprune.evaluation.accuracy import Evaluation
from graphprune.evaluation.outputs import OutputComparison, largest_error
from graphprune.ir.model import Model
from graphprune.ir.quantised import ROUNDING
from graphprune.measure.ort import measure
from graphprune.measure.runtime import Measurement
from graphprune.pipeline.measured import evaluated, judge
from graphprune.report.quantised import Quantised
from graphprune.report.result import Result
from graphprune.rewrite.quantiser import quantise_int8
from graphprune.run.loaded import LoadedRun
from graphprune.run.notes import NoteKind, notes_of, texts_of
from graphprune.run.options import RunOptions
from graphprune.runtime.plugins import plugins
from graphprune.runtime.sessions import run
from graphprune.runtime.turns import Turns

_LOW = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE)


def check_quantisable(loaded: LoadedRun) -> None:
    """Refuse what will not be quantised, before the work.

    Raises
    ------
    OptionError
        There are no samples to calibrate with.
    ModelError
        The quantiser cannot take the model.
    """
    if loaded.data.kind == "synthetic":
        raise OptionError("int8 is calibrated on samples, and there are none", "add --data, or leave --quantise out")
    _refuse_unquantisable(loaded.model)


def _refuse_unquantisable(model: Model) -> None:
    """Of models those that are no float32, are decoders with a cache, have operators of plugins, or are quantised."""
    low = next((name for name, dtype in model.dtypes.items() if dtype in _LOW), None)
    if low is not None:
        what = onnx.TensorProto.DataType.Name(model.dtypes[low]).lower()
        raise ModelError(
            f"the int8 quantiser takes float32, '{low}' is {what}", "prune and quantise the float32 export"
        )
    if decoder_interface(model) is not None:
        raise ModelError(
            "the int8 quantiser calibrates whole runs, and the model is a decoder with a cache",
            "prune it, and let onnxruntime-genai's builder make int4 of the result (docs/language_models.md)",
        )
    if found := plugins(model):
        raise ModelError(f"the int8 quantiser does not know {found[0].op} (node {found[0].name})", "leave it out")
    rounded = next((node for node in model.graph.nodes if node.op in ROUNDING), None)
    if rounded is not None:
        raise ModelError(f"the model is quantised already (node {rounded.name})", "leave --quantise out")


def int8_path(path: Path) -> Path:
    """``small.int8.onnx`` beside ``small.onnx``."""
    return path.with_name(f"{path.stem}.int8{path.suffix}")


def quantised(path: Path, loaded: LoadedRun, held_out: Data | None, options: RunOptions, result: Result) -> Result:
    """``result`` with the network of the file in ``path`` in int8, in a file beside it.

    Where the plan has a budget and int8 loses more, that file is not written and a note says so; a note tells, too,
    where it is no faster than the float one.

    Raises
    ------
    ModelError
        The quantiser fails.
    """
    options.progress("quantising", 0, 0)
    out = int8_path(path)
    is_per_channel = quantise_int8(path, out, (part.feeds for part in loaded.data.batches(options.batch)))
    error, samples = _difference(path, out, loaded.data, options)
    evaluation, why = _judged(out, loaded, held_out, options, result)
    size_bytes = sum(file.stat().st_size for file in out.parent.glob(f"{out.name}*"))
    found = Quantised(
        output=None if result.output is None or why else str(int8_path(result.output)),
        bytes=size_bytes,
        is_per_channel=is_per_channel,
        relative_error=error,
        samples=samples,
        evaluation=evaluation,
    )
    if options.timing.measure_latency:
        options.progress("measuring int8", 0, 0)
        found = replace(found, to_original=_timed(loaded, out, options), to_pruned=_timed(loaded, out, options, path))
        times = None if found.to_pruned is None else found.to_pruned.comparison
        if times is not None and not (times.is_different and times.ratio < 1):
            interval = f"[{times.ratio_low:.2f}, {times.ratio_high:.2f}]"
            why = why or f"int8 is not measured faster than float here: {times.ratio:.2f} times the time {interval}"
    if found.output is None:
        for file in out.parent.glob(f"{out.name}*"):
            file.unlink()
    notes = texts_of(notes_of(NoteKind.QUANTISED, [why] if why else ()))
    return replace(result, quantised=found, notes=(*result.notes, *notes))


def _judged(
    out: Path, loaded: LoadedRun, held_out: Data | None, options: RunOptions, result: Result
) -> tuple[Evaluation | None, str]:
    """How good int8 is against the original, and why it is not to be written, if so."""
    if held_out is None:
        return None, ""
    options.progress("evaluating int8", 0, 0)
    budget = result.plan.budget
    if not budget:
        return evaluated(out, loaded, held_out, options), ""
    evaluation, drop = judge(out, loaded, held_out, options)
    if budget.asked.allows(drop):
        return evaluation, ""
    return evaluation, f"int8 is not written: it loses {drop}, which is more than --max-drop {budget.asked}"


def _difference(path: Path, out: Path, data: Data, options: RunOptions) -> tuple[float, int]:
    """The largest relative error of an output of int8 against the float file, and on how many samples."""
    sessions = Turns((path, out), options.runtime)
    names = [output.name for output in sessions[0].get_outputs()]
    comparison, samples = OutputComparison(names), 0
    for part in data.batches(options.batch):
        float_, int8 = (run(session, part.feeds, names) for session in sessions)
        comparison.add(float_, int8)
        samples += len(part)
    return largest_error(comparison.results()), samples


def _timed(loaded: LoadedRun, out: Path, options: RunOptions, first: Path | None = None) -> Measurement:
    """Of int8 against the original, or against ``first``."""
    timing, model = options.timing, loaded.model
    source, folder = (model.source, model.folder) if first is None else (first, None)
    feeds = loaded.data.first(timing.batch)
    count = loaded.data.batching.count(feeds)
    return measure(source, out, feeds, options.runtime, folder=folder, min_seconds=timing.seconds, samples=count)
