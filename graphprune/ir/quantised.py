"""Weights behind DequantizeLinear: where the constant stands, and what it is as floating-point numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_graphsurgeon as gs

from graphprune.ir.model import constant_dims, read_values

ROUNDING = ("QuantizeLinear", "DequantizeLinear")

Place = tuple[gs.Node, int]
"""A node, and the operand at which it reads."""


def weight_place(node: gs.Node, operand: int) -> Place | None:
    """Where the constant is read that ``node`` has as ``operand``: there, or where its dequantisation begins.

    None where it is no constant.
    """
    while operand < len(node.inputs):
        tensor = node.inputs[operand]
        if isinstance(tensor, gs.Constant):
            return node, operand
        maker = tensor.inputs[0] if tensor.inputs else None
        if maker is None or maker.op not in ROUNDING or not all(map(_is_known, maker.inputs[1:])):
            return None
        node, operand = maker, 0
    return None


def _is_known(tensor: gs.Tensor) -> bool:
    return isinstance(tensor, gs.Constant) or not tensor.name


def weight_dims(node: gs.Node, operand: int) -> tuple[int, ...] | None:
    """Shape of a constant operand, quantised or not; None for what is computed."""
    place = weight_place(node, operand)
    return None if place is None else constant_dims(place[0].inputs[place[1]])


def weight_values(node: gs.Node, operand: int, folder: Path | None) -> np.ndarray:
    """The constant that is read there; floating-point numbers where it is read to be dequantised."""
    values = read_values(node.inputs[operand], folder)
    if node.op != "DequantizeLinear" or operand:
        return values
    scale, zero = (
        np.asarray(read_values(node.inputs[index], folder), np.float32)
        if index < len(node.inputs) and node.inputs[index].name
        else np.zeros((), np.float32)
        for index in (1, 2)
    )
    numbers: np.ndarray = (values.astype(np.float32) - _along(zero, node, values)) * _along(scale, node, values)
    return numbers


def _along(numbers: np.ndarray, node: gs.Node, values: np.ndarray) -> np.ndarray:
    """One for all values, one for each index of an axis, or one for each block of it."""
    if numbers.size == 1:
        return numbers.reshape(())
    axis = rounding_axis(node, values.ndim)
    if numbers.ndim > 1:
        return np.repeat(numbers, node.attrs["block_size"], axis)[tuple(map(slice, values.shape))]
    return numbers.reshape([-1 if index == axis else 1 for index in range(values.ndim)])


def rounding_axis(node: gs.Node, rank: int) -> int:
    """The axis along which scales differ; vectors have only one, whatever the attribute says."""
    axis: int = node.attrs.get("axis", 1)
    return axis % rank if -rank <= axis < rank else 0


def is_quantised(tensor: gs.Constant) -> bool:
    """Whether a constant is read to be dequantised."""
    return any(reader.op == "DequantizeLinear" and reader.inputs[0] is tensor for reader in tensor.outputs)
