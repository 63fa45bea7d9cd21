"""Widths that a runtime likes: multiples of what its kernels work on at once, measured on small convolutions."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from graphprune.measure.ort import ON_CUDA, OrtRuntime
from graphprune.measure.stopwatch import times_ms
from graphprune.measure.times_cache import Cache
from graphprune.runtime.sessions import Feeds, RuntimeOptions

HELD_FOR = ("runtime", "provider", "gpu", "threads", "processor")
"""What of an environment measured times hold for."""

_TENSOR_CORES = 8  # channels at once; small layers on a GPU are bound by launches and would not show it
_ON_A_GPU = (*ON_CUDA, "NvTensorRTRTXExecutionProvider")

_COARSE = range(36, 81, 4)
_FINE = [width for width in range(33, 81) if width % 4]
_COARSEST = 16
_WORTH_IT = 0.5  # of the time that the narrower width promises
_OPENINGS = 9  # more than elsewhere: a few per cent decide
_OUTER, _SIDE = 64, 16  # channels around the measured ones, pixels


def multiple_for(options: RuntimeOptions, folder: Path | None = None) -> int:
    """Multiple to which kept widths are rounded on the runtime of ``options``;
    ``folder`` keeps the times it comes from.

    ONNX Runtime's CPU convolutions work on blocks of channels, and fall back to slower code for other widths:
    on which blocks, two convolutions with each of some widths between them tell, timed once for a machine and runtime.
    Tensor cores want multiples of 8.
    """
    if options.provider_name in _ON_A_GPU:
        return _TENSOR_CORES
    return _measured(options, folder)


@functools.cache
def _measured(options: RuntimeOptions, folder: Path | None) -> int:
    ms = _times_ms(_COARSE, options, folder)
    multiple = best_multiple(ms)
    return multiple if multiple > _COARSE.step else best_multiple(ms | _times_ms(_FINE, options, folder))


def _times_ms(widths: Sequence[int], options: RuntimeOptions, folder: Path | None) -> dict[int, float]:
    """Of the convolutions with each width between them."""
    where = OrtRuntime(options).environment()
    cache = Cache(folder, {"widths": list(widths)} | {name: where[name] for name in HELD_FOR if name in where})
    if len(cache.times_ms) != len(widths):
        measured = times_ms([_two_convolutions(width) for width in widths], options, openings=_OPENINGS)
        cache.times_ms = {str(width): ms for width, ms in zip(widths, measured, strict=True)}
        cache.save()
    return {int(width): ms for width, ms in cache.times_ms.items()}


def best_multiple(ms: Mapping[int, float]) -> int:
    """The smallest multiple whose widths are worth it: one step narrower must save half of the time in proportion.

    Where a kernel works on blocks of channels, a width between two blocks takes the time of the wider one, or more.
    """
    multiple = _COARSEST
    while multiple > 1 and _saved(ms, multiple // 2) >= _WORTH_IT:
        multiple //= 2
    return multiple


def _saved(ms: Mapping[int, float], step: int) -> float:
    """What odd multiples of ``step`` save of the time of the next width, as a share of what their widths promise."""
    pairs = [(width, width + step) for width in ms if width % (2 * step) == step and width + step in ms]
    promised = sum(ms[wide] * step / wide for _, wide in pairs)
    return sum(ms[wide] - ms[narrow] for narrow, wide in pairs) / promised if pairs else 0.0


def _two_convolutions(width: int) -> tuple[onnx.ModelProto, Feeds]:
    """``width`` channels between two 3 x 3 convolutions with a ReLU between."""
    rng = np.random.default_rng(0)
    sizes = {"first": (width, _OUTER, 3, 3), "second": (_OUTER, width, 3, 3)}
    weights = {name: rng.standard_normal(size).astype(np.float32) for name, size in sizes.items()}
    nodes = [
        helper.make_node("Conv", ["x", "first"], ["wide"], pads=[1] * 4),
        helper.make_node("Relu", ["wide"], ["positive"]),
        helper.make_node("Conv", ["positive", "second"], ["y"], pads=[1] * 4),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, _OUTER, _SIDE, _SIDE]) for name in "xy"]
    constants = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "widths", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model, {"x": rng.standard_normal((1, _OUTER, _SIDE, _SIDE)).astype(np.float32)}
