"""The zoo: which networks there are, what is expected of them, and their export to ONNX."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphprune.torch_bridge.export import quiet
from tests.zoo import (
    audio_models,
    branching_cnns,
    cnns,
    decoders,
    dense_prediction,
    encoders,
    generators,
    library,
    mixers,
    mobile_cnns,
    plain_cnns,
    residual_cnns,
    seq2seq,
    sequence_and_volume,
    vision_hybrids,
    vision_transformers,
)
from tests.zoo.entry import EXPORTERS, Axes, Entry, Exporter

OPSETS: dict[Exporter, int] = {"dynamo": 18, "torchscript": 17}
FEED_SIZES: dict[str, int] = {"batch": 3, "sequence": 9, "target": 6, "samples": 480}
"""Sizes of the dynamic axes in the feed; the export saw 2, 7, 5 and 400."""

_FAMILIES = (
    cnns.ENTRIES,
    plain_cnns.ENTRIES,
    residual_cnns.ENTRIES,
    branching_cnns.ENTRIES,
    mobile_cnns.ENTRIES,
    dense_prediction.ENTRIES,
    generators.ENTRIES,
    sequence_and_volume.ENTRIES,
    mixers.ENTRIES,
    encoders.ENTRIES,
    decoders.ENTRIES,
    seq2seq.ENTRIES,
    vision_transformers.ENTRIES,
    vision_hybrids.ENTRIES,
    audio_models.ENTRIES,
)
ZOO: dict[str, Entry] = {entry.name: entry for family in _FAMILIES for entry in family}
ALIKE = (
    *("resnet_v1", "resnet_v1_pad", "resnet_bottleneck", "res2net"),  # resnet_se and resnet_preact stand for them
    *("hf_mobilenet_v2", "hf_regnet", "convnext"),  # mobilenet_v2, resnet_se, hf_convnext
    *("qwen2", "gpt_neox"),  # llama
)
"""What torch.export writes of these it writes of another as well, and it takes its time."""
IS_WHOLE = os.environ.get("GRAPHPRUNE_ZOO") == "all"
CASES: tuple[tuple[str, Exporter], ...] = tuple(
    (entry.name, exporter)
    for entry in ZOO.values()
    for exporter in EXPORTERS
    if (IS_WHOLE or (entry.fast and (exporter != "dynamo" or entry.name not in ALIKE)))
    and exporter not in entry.unsupported
)
"""What the tests run: the fast entries, or with GRAPHPRUNE_ZOO=all every one by both exporters.
``tools/checks/zoo.py`` does, too."""
FEW = None if IS_WHOLE else 8
"""Of more groups or blocks than that, the tests cut none alone."""


def export(name: str, exporter: Exporter, folder: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """Write ``<name>-<exporter>.onnx`` with dynamic axes;
    return its path and a feed with sizes the export never saw.
    """
    entry = ZOO[name]
    module, inputs = entry.builder()
    axes = entry.axes(exporter)
    path = folder / f"{name}-{exporter}.onnx"
    with quiet(), torch.no_grad():
        if exporter == "dynamo":
            _export_dynamo(module, inputs, axes, path)
        else:
            _export_torchscript(module, inputs, axes, path)
    feed = {key: _resize(tensor, axes[key]).numpy() for key, tensor in inputs.items()}
    return path, feed


def expected(name: str, feed: Mapping[str, np.ndarray]) -> np.ndarray:
    """What torch computes for a feed."""
    module, inputs = ZOO[name].builder()
    with quiet(), torch.no_grad():
        output: np.ndarray = module(*(torch.from_numpy(feed[key]) for key in inputs)).numpy()
    return output


def _export_dynamo(module: torch.nn.Module, inputs: dict[str, Tensor], dynamic: Axes, path: Path) -> None:
    names = {axis_name for axes in dynamic.values() for axis_name in axes.values()}
    dims = {axis_name: torch.export.Dim(axis_name, min=1, max=max(32, FEED_SIZES[axis_name])) for axis_name in names}
    shapes: Any = tuple({axis: dims[axis_name] for axis, axis_name in dynamic[key].items()} for key in inputs)
    if isinstance(module, library.Wrapped):
        shapes = (shapes,)  # forward(*tensors) is one variadic parameter
    torch.onnx.export(
        module,
        tuple(inputs.values()),
        path,
        input_names=list(inputs),
        output_names=["output"],
        opset_version=OPSETS["dynamo"],
        dynamo=True,
        dynamic_shapes=shapes,
        external_data=False,
        verbose=False,
    )


def _export_torchscript(module: torch.nn.Module, inputs: dict[str, Tensor], dynamic: Axes, path: Path) -> None:
    torch.onnx.export(
        module,
        tuple(inputs.values()),
        path,
        input_names=list(inputs),
        output_names=["output"],
        opset_version=OPSETS["torchscript"],
        dynamo=False,
        dynamic_axes={key: dict(axes) for key, axes in (*dynamic.items(), ("output", {0: "batch"}))},
    )


def _resize(tensor: Tensor, axes: Mapping[int, str]) -> Tensor:
    """Other values of the same kind, with the dynamic axes at the feed's sizes."""
    generator = torch.Generator().manual_seed(1)
    for axis, name in axes.items():
        tensor = tensor.index_select(axis, torch.arange(FEED_SIZES[name]) % tensor.shape[axis])
    order = torch.randperm(tensor.numel(), generator=generator)
    return tensor.reshape(-1)[order].reshape(tensor.shape).contiguous()
