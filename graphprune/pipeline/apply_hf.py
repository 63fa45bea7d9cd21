"""A plan that was made on an ONNX file, carried out on the Hugging Face folder of the same network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from graphprune.analysis.model_analysis import ModelAnalysis, analyse
from graphprune.base.progress import Progress, silent
from graphprune.data.dataset import input_specs
from graphprune.decoder.interface import decoder_interface
from graphprune.decoder.steps import prefill
from graphprune.errors import InputError, OptionError, PlanError
from graphprune.hf_checkpoint import proof
from graphprune.hf_checkpoint.cut import Weights, axis_changes, check_alike, check_known, cut_tensors, layers_of
from graphprune.hf_checkpoint.experts import taken_apart
from graphprune.hf_checkpoint.numbers import head_size, smaller_config
from graphprune.hf_checkpoint.places import float_weights
from graphprune.hf_checkpoint.tensors import Checkpoint
from graphprune.ir.loading import load
from graphprune.ir.model import Model
from graphprune.model_folder import layout, writing
from graphprune.model_folder.json_file import read_object, rewritten
from graphprune.plan.faults import of_another_model
from graphprune.plan.plan import Plan
from graphprune.rewrite.apply import execute
from graphprune.rewrite.removal import Removal
from graphprune.run.loaded import prepare
from graphprune.run.options import RunOptions
from graphprune.runtime.sessions import RuntimeOptions

_CONFIG = "config.json"


@dataclass(frozen=True)
class HfResult:
    """What was written.

    ``layers`` and ``parameters`` are pairs, before and after. ``difference`` is how far the logits are from those of
    the pruned ONNX file, relative to its largest; None where it was not looked at, and ``note`` says why.
    """

    output: Path
    layers: tuple[int, int]
    parameters: tuple[int, int]
    difference: float | None
    note: str = ""


def apply_hf(
    plan: Plan | str | os.PathLike[str],
    folder: str | os.PathLike[str],
    output: str | os.PathLike[str],
    model: str | os.PathLike[str] | None = None,
    pruned: str | os.PathLike[str] | None = None,
    progress: Progress = silent,
) -> HfResult:
    """Write the folder ``output``, which ``AutoModelForCausalLM.from_pretrained`` loads.

    Parameters
    ----------
    folder : safetensors and ``config.json``, as transformers saves them.
    model : the ONNX file that the plan was made for, or its folder; by default it is looked for in ``folder``.
    pruned : the pruned ONNX file or its folder; needed where the plan has a repair, for its weights are there.

    Raises
    ------
    PlanError
        The plan is not for ``model``, or leaves what transformers has no numbers for.
    ModelError
        The ONNX files and the folder do not belong together.
    ValidationFailed
        transformers does not load the result, or its logits are others. Nothing is written then.
    """
    plan = plan if isinstance(plan, Plan) else Plan.load(Path(plan))
    folder, out = Path(folder), Path(output)
    if plan.linearised:
        raise PlanError(
            f"the plan linearises {plan.linearised[0].name}, and transformers has no module for a linear map there",
            "keep the ONNX file, or make a plan that removes blocks",
        )
    if plan.repair and pruned is None:
        raise OptionError(
            f"the plan has a repair ({','.join(plan.repair)}), whose weights are in the pruned ONNX file alone",
            "name it with --pruned",
        )
    writing.check_output(out, folder)
    config = read_object(layout.inside(folder, _CONFIG))
    progress("loading", 0, 0)
    dense = load(layout.model_file(Path(folder if model is None else model)))
    if dense.sha256 != plan.model_sha256:
        raise PlanError(
            of_another_model(plan.model_sha256, dense.sha256),
            "name the ONNX file that it was made for with --model",
        )
    cut = _carried_out(plan, dense, head_size(config))
    small = cut if pruned is None else load(layout.model_file(Path(pruned)))
    return cut_folder(folder, out, dense, cut, small, progress)


def cut_folder(
    folder: Path, out: Path, dense: Model, cut: Model, small: Model, progress: Progress = silent
) -> HfResult:
    """Write ``out``, which is to ``folder`` as ``small`` is to ``dense``; ``cut`` is ``small`` before any repair.

    Raises
    ------
    PlanError, ModelError, ValidationFailed
        As :func:`apply_hf`.
    """
    checkpoint, config = Checkpoint.of(folder), read_object(layout.inside(folder, _CONFIG))
    before, between, after = (float_weights(model) for model in (dense, cut, small))
    _check_pruned(between, after)
    weights = Weights(*taken_apart(before, between, after))
    progress("following the tensors", 0, 0)
    tensors = cut_tensors(checkpoint, weights)
    layers = layers_of(tensors)
    shrunk = axis_changes(tensors, layers)
    check_known(tensors, layers, shrunk)
    check_alike(tensors, layers)
    new_config = smaller_config(config, layers.count, layers.kept, shrunk)
    renamed = layers.renamed(tensors.shapes, tensors.gone)
    progress("writing", 0, 0)
    with writing.staged_folder(out) as stage:
        try:
            _copy_others(folder, stage)
            (stage / _CONFIG).write_text(rewritten(folder / _CONFIG, new_config), encoding="utf-8")
            checkpoint.write(stage, renamed, tensors.values)
        except OSError as error:
            raise InputError(f"cannot write {error.filename}: {error.strerror}", "free space, or another -o") from None
        found, note = None, "not compared with the ONNX file: pip install torch transformers"
        if proof.can_prove():
            progress("comparing", 0, 0)
            weight_bytes = min(checkpoint.read(name).dtype.itemsize for name in renamed)
            found, note = proof.difference(stage, small, weight_bytes), ""
    parameters = (
        sum(prod(shape) for shape in tensors.shapes.values()),
        sum(tensors.values[old].size if old in tensors.values else prod(tensors.shapes[old]) for old in renamed),
    )
    return HfResult(out, (layers.count, len(layers.kept)), parameters, found, note)


def _carried_out(plan: Plan, model: Model, head_dim: int) -> Model:
    """The network cut as the plan says, its weights as they were."""
    runtime = RuntimeOptions()
    interface = decoder_interface(model)
    if interface is None:
        loaded = prepare(model.source, None, RunOptions())
        analysis, feeds = loaded.analysis, loaded.feeds
    else:
        specs = {spec.name: spec for spec in input_specs(model)}
        sizes = {dim: head_dim for tensor in interface.cache for dim in tensor.dims[3:] if isinstance(dim, str)}
        feeds = prefill(interface, specs, np.ones((1, 8), dtype=np.int64), sizes=sizes)
        analysis = analyse(model, feeds, runtime)
    steps: list[Removal] = []
    small: ModelAnalysis = analysis
    for decision in plan.decisions:
        small = execute(small, decision, steps, feeds, runtime)
    return small.model


def _check_pruned(cut: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> None:
    """Refuse a pruned file that is not what the plan makes."""
    wanted, there = ({name: array.shape for name, array in each.items()} for each in (cut, after))
    if wanted != there:
        name = next(name for name in {**wanted, **there} if wanted.get(name) != there.get(name))
        raise PlanError(
            f"the pruned file is not what the plan makes of the model: '{name}' is {there.get(name, 'not there')} "
            f"there, and {wanted.get(name, 'not there')} by the plan",
            "name the file that was written with this plan",
        )


def _copy_others(folder: Path, stage: Path) -> None:
    """Tokenizer, chat template and all that is no network; the ONNX files are another form of it."""
    for name in layout.without_networks(folder):
        if name != _CONFIG:
            (stage / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(layout.inside(folder, name), stage / name)
