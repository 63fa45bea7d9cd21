"""Windows of a convolution's input: what its kernels multiply at each place of its output."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from graphprune.ir.model import constant_dims


def windows(node: gs.Node, values: np.ndarray) -> np.ndarray:
    """The input (samples, channels, *space) as (samples, *output space, channels, *kernel)."""
    return _transposed(node, values) if node.op == "ConvTranspose" else _plain(node, values)


def _transposed(node: gs.Node, values: np.ndarray) -> np.ndarray:
    """A transposed convolution is a plain one with the kernel turned round, over inputs with zeros between them."""
    space = values.shape[2:]
    kernel, strides, dilations = geometry(node)
    added = node.attrs.get("output_padding") or [0] * len(space)
    reach = [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]
    pads = padding(node, space, reach, strides)
    wide = np.zeros(
        (*values.shape[:2], *((size - 1) * step + 1 for size, step in zip(space, strides, strict=True))), values.dtype
    )
    wide[(slice(None), slice(None), *(slice(None, None, step) for step in strides))] = values
    for axis, (width, (before, after), more) in enumerate(zip(reach, pads, added, strict=True), 2):
        wide = _extended(wide, axis, width - 1 - before, width - 1 - after + more)
    found = _slid(wide, reach, dilations)
    return np.flip(found, axis=tuple(range(found.ndim - len(space), found.ndim)))


def _extended(values: np.ndarray, axis: int, before: int, after: int) -> np.ndarray:
    """Zeros at both ends of an axis, or, negative, some of it cut away."""
    widths = [(0, 0)] * values.ndim
    widths[axis] = max(0, before), max(0, after)
    padded = np.pad(values, widths)
    kept = slice(max(0, -before), padded.shape[axis] - max(0, -after))
    whole: np.ndarray = padded[(slice(None),) * axis + (kept,)]
    return whole


def _plain(node: gs.Node, values: np.ndarray) -> np.ndarray:
    kernel, strides, dilations = geometry(node)
    reach = [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]
    padded = np.pad(values, [(0, 0), (0, 0), *padding(node, values.shape[2:], reach, strides)])
    return _slid(padded, reach, dilations, strides)


def _slid(padded: np.ndarray, reach: list[int], dilations: list[int], strides: list[int] | None = None) -> np.ndarray:
    count = len(reach)
    found = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=tuple(range(2, 2 + count)))
    picked = found[
        (
            slice(None),
            slice(None),
            *(slice(None, None, step) for step in strides or [1] * count),
            *(slice(None, None, step) for step in dilations),
        )
    ]
    return np.moveaxis(picked, 1, 1 + count)


def geometry(node: gs.Node) -> tuple[tuple[int, ...], list[int], list[int]]:
    """Size of the kernel, strides and dilations."""
    kernel = constant_dims(node.inputs[1])[2:]
    ones = [1] * len(kernel)
    return kernel, node.attrs.get("strides") or ones, node.attrs.get("dilations") or ones


def padding(node: gs.Node, space: tuple[int, ...], reach: list[int], strides: list[int]) -> list[tuple[int, int]]:
    """Zeros before and after each spatial axis; a transposed convolution cuts so much away."""
    count = len(space)
    mode = node.attrs.get("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        totals = [
            max(0, (-(-size // step) - 1) * step + width - size)
            for size, step, width in zip(space, strides, reach, strict=True)
        ]
        halves = [(total // 2, total - total // 2) for total in totals]
        return halves if mode == "SAME_UPPER" else [(after, before) for before, after in halves]
    pads = [0] * (2 * count) if mode == "VALID" else node.attrs.get("pads") or [0] * (2 * count)
    return [(pads[index], pads[index + count]) for index in range(count)]
