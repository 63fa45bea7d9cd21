"""Rules from operators to torch: one function per operator family, registered by decorator.

A rule gets a :class:`Site` and returns what the node's outputs become: one value, or a list of them. Where it does not
understand a use of its operator it calls :meth:`Site.refuse`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import onnx_graphsurgeon as gs
import torch
from torch import fx, nn

from graphprune.base.operator_rules import RuleBook
from graphprune.errors import ModelError
from graphprune.ir.model import constant_dims
from graphprune.torch_bridge.builder import Builder
from graphprune.torch_bridge.dtypes import is_floating
from graphprune.torch_bridge.values import Number, Numbers, Value, known, numbers
from graphprune.torch_bridge.weights import module_path

CONTRIB = "com.microsoft"


@dataclass(frozen=True)
class Site:
    """A node as its rule sees it."""

    node: gs.Node
    builder: Builder
    opset: int

    def refuse(self, why: str, fix: str = "export the model again without it") -> NoReturn:
        """Give up, naming operator and node."""
        raise ModelError(f"node '{self.node.name}' ({self.node.op}) cannot be converted to PyTorch: {why}", fix)

    # what the node says

    def attr(self, name: str, default: Any = None) -> Any:
        value = self.node.attrs.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def has(self, operand: int) -> bool:
        """Whether the optional input is given."""
        return operand < len(self.node.inputs) and bool(self.node.inputs[operand].name)

    def name(self, operand: int = 0) -> str:
        found: str = self.node.inputs[operand].name
        return found

    def is_read(self, output: int) -> bool:
        """Whether anybody looks at this output."""
        if output >= len(self.node.outputs) or not self.node.outputs[output].name:
            return False
        tensor = self.node.outputs[output]
        return bool(tensor.outputs) or tensor.name in self.builder.view.outputs

    # what its inputs are

    def is_constant(self, operand: int) -> bool:
        """Whether an initialiser is read there."""
        return self.has(operand) and isinstance(self.node.inputs[operand], gs.Constant)

    def dims(self, operand: int) -> tuple[int, ...]:
        """Shape of a constant."""
        return constant_dims(self.node.inputs[operand])

    def is_weight(self, operand: int, rank: int | None = None) -> bool:
        """Whether a floating constant, of the given rank, is read there."""
        if not self.is_constant(operand) or not is_floating(self.builder.kind(self.node.inputs[operand])):
            return False
        return rank is None or len(self.dims(operand)) == rank

    def array(self, operand: int) -> np.ndarray | None:
        """What an input holds whatever the data, where that is so."""
        if not self.has(operand):
            return None
        if self.is_constant(operand):
            return self.builder.array(self.node.inputs[operand])
        value = self.builder.values[self.name(operand)]
        return np.array(value.tolist()) if isinstance(value, np.ndarray) and known(value) else None

    def is_numbers(self, operand: int) -> bool:
        """Whether an input is computed from sizes alone."""
        return not self.is_constant(operand) and isinstance(self.builder.values[self.name(operand)], np.ndarray)

    def numbers(self, operand: int) -> Numbers:
        """An input as numbers; refused for what is computed from data."""
        if self.is_constant(operand):
            return numbers(self.builder.array(self.node.inputs[operand]))
        value = self.builder.values[self.name(operand)]
        if isinstance(value, np.ndarray):
            return value
        shape = self.shape(operand)
        dims = [dim for dim in shape or () if isinstance(dim, int)]
        if shape is None or len(dims) < len(shape) or len(shape) > 1:
            self.refuse(f"its input '{self.name(operand)}' is a list of sizes whose length is not known")
        from graphprune.torch_bridge.functions.numbers import number_at

        found = [self.call(number_at, value, index) for index in range(math.prod(dims))]
        return numbers(found, tuple(dims))

    def listed(self, operand: int) -> list[Number]:
        """An input of rank 0 or 1 as a list of numbers."""
        return list(self.numbers(operand).reshape(-1))

    def ints(self, operand: int) -> list[int]:
        """An input as integers that are the same for all data."""
        found = self.array(operand)
        if found is None:
            self.refuse(f"its input '{self.name(operand)}' is computed; only constants are understood there")
        return [int(value) for value in np.ravel(found)]

    def shape(self, operand: int = 0) -> tuple[int | str | None, ...] | None:
        """Symbolic shape of an input."""
        if self.is_constant(operand):
            return self.dims(operand)
        value = self.builder.values[self.name(operand)]
        return value.shape if isinstance(value, np.ndarray) else self.builder.shape(self.name(operand))

    def rank(self, operand: int = 0) -> int:
        shape = self.shape(operand)
        if shape is None:
            self.refuse(f"the rank of its input '{self.name(operand)}' is not known")
        return len(shape)

    def size(self, operand: int, axis: int) -> Number:
        """One size of an input."""
        if self.is_constant(operand):
            return self.dims(operand)[axis]
        return self.builder.size(self.name(operand), axis)

    def dtype(self, operand: int = 0) -> torch.dtype | None:
        """Element type of an input, where it is known."""
        if self.is_constant(operand):
            from graphprune.torch_bridge.dtypes import torch_dtype

            return torch_dtype(self.builder.kind(self.node.inputs[operand]), f"'{self.name(operand)}'")
        return self.builder.dtype(self.name(operand))

    def is_learned(self) -> bool:
        """Whether an input depends on a parameter."""
        return any(tensor.name in self.builder.learned for tensor in self.node.inputs)

    # what the rule makes of them

    def tensor(self, operand: int) -> fx.Node:
        """An input as a tensor: computed, a parameter or a buffer."""
        if not self.is_constant(operand):
            return self.builder.tensor(self.name(operand))
        constant = self.node.inputs[operand]
        if self.builder.is_parameter(constant, reader_is_learned=self.is_learned() and self.node.op in _SHIFT_OR_SCALE):
            return self.builder.free_parameter(constant)
        return self.builder.buffer(constant)

    def tensors(self) -> list[fx.Node]:
        """Every given input as a tensor."""
        return [self.tensor(index) for index in range(len(self.node.inputs)) if self.has(index)]

    def operand(self, operand: int) -> Number:
        """An input of an elementwise function: a tensor, or the number itself where there is only one."""
        if self.is_constant(operand) and not self.dims(operand):
            return self.builder.array(self.node.inputs[operand]).item()
        if not self.is_constant(operand) and self.is_numbers(operand):
            value = self.builder.values[self.name(operand)]
            if isinstance(value, np.ndarray) and not value.ndim:
                return value.item()
        return self.tensor(operand)

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """A node that calls a function."""
        return self.builder.call(function, *args, **kwargs)

    def module(self, module: nn.Module, *args: Any, path: str = "") -> fx.Node:
        """A node that calls a module without weights of the file."""
        where = self.builder.tree.add_module(path or self.path(), module)
        return self.builder.graph.call_module(where, args)

    def path(self, **roles: int) -> str:
        """Where to put the module: where its weights say, else its node. ``roles`` are members and their operands."""
        for role, operand in roles.items():
            found = module_path(self.name(operand), role) if self.is_constant(operand) else ""
            if found:
                return found
        return self.builder.layer_path(self.node.name)

    def layer(self, make: Callable[[], nn.Module], inputs: Sequence[Any], weights: Mapping[str, int], *,
              path: str = "", layout: str = "same", options: Any = (), statistics: Mapping[str, int] | None = None,
              ) -> fx.Node:  # fmt: skip
        """A node that calls a layer; ``weights`` maps its members to the operands they are read from.

        ``make`` gives the layer with members of the right shape; ``layout`` is that of the weight (the bias has only one axis).
        Nodes with the same weights and the same ``options`` share the module. ``statistics`` are buffers, which every
        layer has for itself.
        """
        read = dict(weights) | dict(statistics or {})
        constants = {key: self.node.inputs[operand] for key, operand in read.items()}
        identity = self.node.op, str(options), layout, *((key, tensor.name) for key, tensor in constants.items())

        def place() -> str:
            module = make()
            for key in weights:
                (parameter,) = self.builder.weight(constants[key], layout if key == "weight" else "same")
                module.register_parameter(key, parameter)
            for key in statistics or {}:
                from graphprune.torch_bridge.dtypes import to_tensor

                module.register_buffer(key, to_tensor(self.builder.array(constants[key])))
            where = self.builder.tree.add_module(path or self.path(**weights), module)
            for key in weights:
                self.builder.member(where, constants[key], [key], layout if key == "weight" else "same")
            for key, operand in (statistics or {}).items():
                self.builder.statistic(where, constants[key], key, self.node.name, operand)
            return where

        return self.builder.graph.call_module(self.builder.reuse(identity, place), tuple(inputs))


_SHIFT_OR_SCALE = {"Add", "Sub", "Mul", "Div", "PRelu"}

Rule = Callable[[Site], "Value | list[Value]"]
BOOK: RuleBook[Rule] = RuleBook()
rule, find_rule, known_ops = BOOK.rule, BOOK.find, BOOK.ops
