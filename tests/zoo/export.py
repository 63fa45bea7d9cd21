"""The zoo: which networks there are, what is expected of them, and their export to ONNX."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from tests.zoo import cnns, transformers_models
from tests.zoo.cnns import Built

Exporter = Literal["dynamo", "torchscript"]
Axes = Mapping[str, Mapping[int, str]]
"""Input name -> axis -> name of the symbolic dimension."""

EXPORTERS: tuple[Exporter, ...] = ("dynamo", "torchscript")
OPSETS: dict[Exporter, int] = {"dynamo": 18, "torchscript": 17}
FEED_SIZES: dict[str, int] = {"batch": 3, "sequence": 9}
"""Sizes of the dynamic axes in the feed; the export saw 2 and 7."""


@dataclass(frozen=True)
class Entry:
    """One network of the zoo.

    ``blocks`` is the number of residual blocks that can be removed, known from the architecture. ``requires`` are the
    packages it needs beside torch. ``unsupported`` gives the reason why an exporter cannot export it, ``fixed`` the
    reason why an exporter fixes a dimension that should be dynamic.
    """

    name: str
    builder: Callable[[], Built]
    dynamic: Axes
    blocks: int
    requires: tuple[str, ...] = ()
    unsupported: Mapping[Exporter, str] = field(default_factory=dict)
    fixed: Mapping[tuple[Exporter, str], str] = field(default_factory=dict)

    def axes(self, exporter: Exporter) -> Axes:
        """The axes that are dynamic in what ``exporter`` writes."""
        return {
            key: {axis: name for axis, name in axes.items() if (exporter, name) not in self.fixed}
            for key, axes in self.dynamic.items()
        }


_IMAGE: Axes = {"image": {0: "batch"}}
_TEXT: Axes = {"input_ids": {0: "batch", 1: "sequence"}}
_MASKED: Axes = {**_TEXT, "attention_mask": {0: "batch", 1: "sequence"}}
_HF = ("transformers",)

_ENTRIES = (
    Entry("resnet_v1", cnns.resnet_v1, _IMAGE, blocks=4),
    Entry("resnet_v1_pad", cnns.resnet_v1_pad, _IMAGE, blocks=4),
    Entry("resnet_bottleneck", cnns.resnet_bottleneck, _IMAGE, blocks=3),
    Entry("resnet_preact", cnns.resnet_preact, _IMAGE, blocks=4),
    Entry("resnet_se", cnns.resnet_se, _IMAGE, blocks=4),
    Entry("mobilenet_v2", cnns.mobilenet_v2, _IMAGE, blocks=4),
    Entry("convnext", cnns.convnext, _IMAGE, blocks=4),
    Entry("vit", transformers_models.vit, _IMAGE, blocks=4, requires=_HF),
    Entry("bert", transformers_models.bert, _MASKED, blocks=4, requires=_HF),
    Entry("gpt2", transformers_models.gpt2, _MASKED, blocks=4, requires=_HF),
    Entry("llama", transformers_models.llama, _MASKED, blocks=4, requires=_HF),
    Entry("hf_convnext", transformers_models.hf_convnext, _IMAGE, blocks=4, requires=_HF),
    Entry("hf_mobilenet_v2", transformers_models.hf_mobilenet_v2, _IMAGE, blocks=10, requires=_HF),
    Entry("hf_regnet", transformers_models.hf_regnet, _IMAGE, blocks=3, requires=_HF),
    Entry(
        "post_norm_encoder",
        transformers_models.post_norm_encoder,
        _TEXT,
        blocks=4,
        fixed={("torchscript", "sequence"): "nn.MultiheadAttention reshapes to the sequence length seen in the trace"},
    ),
)
ZOO: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}


def export(name: str, exporter: Exporter, folder: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """Write ``<name>-<exporter>.onnx`` with dynamic axes; return its path and a feed with sizes the export never saw."""
    entry = ZOO[name]
    module, inputs = entry.builder()
    axes = entry.axes(exporter)
    path = folder / f"{name}-{exporter}.onnx"
    with _quiet(), torch.no_grad():
        if exporter == "dynamo":
            _export_dynamo(module, inputs, axes, path)
        else:
            _export_torchscript(module, inputs, axes, path)
    feed = {key: _resize(tensor, axes[key]).numpy() for key, tensor in inputs.items()}
    return path, feed


def expected(name: str, feed: Mapping[str, np.ndarray]) -> np.ndarray:
    """What torch computes for a feed."""
    module, inputs = ZOO[name].builder()
    with _quiet(), torch.no_grad():
        output: np.ndarray = module(*(torch.from_numpy(feed[key]) for key in inputs)).numpy()
    return output


def _export_dynamo(module: torch.nn.Module, inputs: dict[str, Tensor], dynamic: Axes, path: Path) -> None:
    names = {axis_name for axes in dynamic.values() for axis_name in axes.values()}
    dims = {axis_name: torch.export.Dim(axis_name, min=1, max=32) for axis_name in names}
    shapes: Any = tuple({axis: dims[axis_name] for axis, axis_name in dynamic[key].items()} for key in inputs)
    if isinstance(module, transformers_models.Wrapped):
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


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporters' progress, warnings and log lines, and keep torch to layers that can be exported."""
    level, fast = logging.root.manager.disable, torch.backends.mha.get_fastpath_enabled()
    logging.disable(logging.ERROR)
    torch.backends.mha.set_fastpath_enabled(False)  # the exporters know no fused encoder layer
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        torch.backends.mha.set_fastpath_enabled(fast)
