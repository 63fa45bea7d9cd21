"""What a node's inputs are, as its rule asks them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import torch

from graphprune.errors import ModelError
from graphprune.ir.node_reading import NodeReading
from graphprune.torch_bridge.conversion import Conversion
from graphprune.torch_bridge.dtypes import is_floating, torch_dtype
from graphprune.torch_bridge.functions.numbers import number_at
from graphprune.torch_bridge.values import Number, Numbers, known, numbers


@dataclass(frozen=True)
class Operands(NodeReading):
    """A node and what is known of its inputs: constants, numbers, shapes and types."""

    conversion: Conversion
    opset: int

    def refuse(self, why: str, fix: str = "export the model again without it") -> NoReturn:
        """Give up, naming operator and node."""
        raise ModelError(f"node '{self.name}' ({self.op}) cannot be converted to PyTorch: {why}", fix)

    def input_name(self, operand: int = 0) -> str:
        found: str = self.inputs[operand].name
        return found

    def is_read(self, output: int) -> bool:
        """Whether anybody looks at this output."""
        if output >= len(self.outputs) or not self.outputs[output].name:
            return False
        tensor = self.outputs[output]
        return bool(tensor.outputs) or tensor.name in self.conversion.source.view.outputs

    def is_weight(self, operand: int, rank: int | None = None) -> bool:
        """Whether a floating constant, of the given rank, is read there."""
        if not self.is_constant(operand) or not is_floating(self.conversion.source.kind(self.inputs[operand])):
            return False
        return rank is None or len(self.dims(operand)) == rank

    def array(self, operand: int) -> np.ndarray | None:
        """What an input holds whatever the data, where that is so."""
        if not self.has(operand):
            return None
        if self.is_constant(operand):
            return self.conversion.source.array(self.inputs[operand])
        value = self.conversion.tensors.values[self.input_name(operand)]
        return np.array(value.tolist()) if isinstance(value, np.ndarray) and known(value) else None

    def is_numbers(self, operand: int) -> bool:
        """Whether an input is computed from sizes alone."""
        values = self.conversion.tensors.values
        return not self.is_constant(operand) and isinstance(values[self.input_name(operand)], np.ndarray)

    def numbers(self, operand: int) -> Numbers:
        """An input as numbers; refused for what is computed from data."""
        if self.is_constant(operand):
            return numbers(self.conversion.source.array(self.inputs[operand]))
        value = self.conversion.tensors.values[self.input_name(operand)]
        if isinstance(value, np.ndarray):
            return value
        shape = self.shape(operand)
        dims = [dim for dim in shape or () if isinstance(dim, int)]
        if shape is None or len(dims) < len(shape) or len(shape) > 1:
            self.refuse(f"its input '{self.input_name(operand)}' is a list of sizes whose length is not known")
        found = [self.conversion.tensors.call(number_at, value, index) for index in range(math.prod(dims))]
        return numbers(found, tuple(dims))

    def listed(self, operand: int) -> list[Number]:
        """An input of rank 0 or 1 as a list of numbers."""
        return list(self.numbers(operand).reshape(-1))

    def ints(self, operand: int) -> list[int]:
        """An input as integers that are the same for all data."""
        found = self.array(operand)
        if found is None:
            self.refuse(f"its input '{self.input_name(operand)}' is computed; only constants are understood there")
        return [int(value) for value in np.ravel(found)]

    def shape(self, operand: int = 0) -> tuple[int | str | None, ...] | None:
        """Symbolic shape of an input."""
        if self.is_constant(operand):
            return self.dims(operand)
        name = self.input_name(operand)
        value = self.conversion.tensors.values[name]
        return value.shape if isinstance(value, np.ndarray) else self.conversion.source.shape(name)

    def rank(self, operand: int = 0) -> int:
        """How many axes an input has; refused where that is not known."""
        shape = self.shape(operand)
        if shape is None:
            self.refuse(f"the rank of its input '{self.input_name(operand)}' is not known")
        return len(shape)

    def size(self, operand: int, axis: int) -> Number:
        """One size of an input."""
        if self.is_constant(operand):
            return self.dims(operand)[axis]
        return self.conversion.tensors.size(self.input_name(operand), axis)

    def dtype(self, operand: int = 0) -> torch.dtype | None:
        """Element type of an input, where it is known."""
        source, name = self.conversion.source, self.input_name(operand)
        return (
            torch_dtype(source.kind(self.inputs[operand]), f"'{name}'")
            if self.is_constant(operand)
            else source.dtype(name)
        )

    def is_learned(self) -> bool:
        """Whether an input depends on a parameter."""
        return any(tensor.name in self.conversion.tensors.learned for tensor in self.inputs)
