"""A node as its rule sees it: its operands, and what the rule may make of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import fx, nn

from graphprune.torch_bridge.dtypes import to_tensor
from graphprune.torch_bridge.operands import Operands
from graphprune.torch_bridge.values import Number
from graphprune.torch_bridge.weights import module_path

_SHIFT_OR_SCALE = {"Add", "Sub", "Mul", "Div", "PRelu"}


@dataclass(frozen=True)
class NodeConversion(Operands):
    """A node whose inputs can be had as tensors, and calls that become its outputs."""

    def tensor(self, operand: int) -> fx.Node:
        """An input as a tensor: computed, a parameter or a buffer."""
        conversion = self.conversion
        if not self.is_constant(operand):
            return conversion.tensors.tensor(self.input_name(operand))
        constant = self.inputs[operand]
        if conversion.parameters.is_parameter(
            constant, reader_is_learned=self.is_learned() and self.op in _SHIFT_OR_SCALE
        ):
            return conversion.tensors.graph.get_attr(conversion.parameters.free(constant))
        return conversion.buffer(constant)

    def tensors(self) -> list[fx.Node]:
        """Every given input as a tensor."""
        return [self.tensor(index) for index in range(len(self.inputs)) if self.has(index)]

    def operand(self, operand: int) -> Number:
        """An input of an elementwise function: a tensor, or the number itself where there is only one."""
        if self.is_constant(operand) and not self.dims(operand):
            return self.conversion.source.array(self.inputs[operand]).item()
        if not self.is_constant(operand) and self.is_numbers(operand):
            value = self.conversion.tensors.values[self.input_name(operand)]
            if isinstance(value, np.ndarray) and not value.ndim:
                return value.item()
        return self.tensor(operand)

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """A node that calls a function."""
        return self.conversion.tensors.call(function, *args, **kwargs)

    def module(self, module: nn.Module, *args: Any, path: str = "") -> fx.Node:
        """A node that calls a module without weights of the file."""
        where = self.conversion.tree.add_module(path or self.path(), module)
        return self.conversion.tensors.graph.call_module(where, args)

    def shared_module(self, key: Hashable, make: Callable[[], str], *args: Any) -> fx.Node:
        """A node that calls the module of all nodes with this ``key``; ``make`` places it and says where."""
        return self.conversion.tensors.graph.call_module(self.conversion.tree.shared(key, make), args)

    def path(self, **roles: int) -> str:
        """Where to put the module: where its weights say, else its node. ``roles`` are members and their operands."""
        for role, operand in roles.items():
            found = module_path(self.input_name(operand), role) if self.is_constant(operand) else ""
            if found:
                return found
        return self.conversion.source.layer_path(self.name)

    def layer(
        self,
        make: Callable[[], nn.Module],
        inputs: Sequence[Any],
        weights: Mapping[str, int],
        *,
        path: str = "",
        options: Any = (),
        statistics: Mapping[str, int] | None = None,
    ) -> fx.Node:
        """A node that calls a layer; ``weights`` maps its members to the operands they are read from.

        ``make`` gives the layer with members of the right shape.
        Nodes with the same weights and the same ``options`` share the module. ``statistics`` are buffers,
        which every layer has for itself.
        """
        parameters, counted = self.conversion.parameters, statistics or {}
        constants = {key: self.inputs[operand] for key, operand in (*weights.items(), *counted.items())}

        def place() -> str:
            module = make()
            for key in weights:
                (parameter,) = parameters.of(constants[key])
                module.register_parameter(key, parameter)
            for key in counted:
                module.register_buffer(key, to_tensor(self.conversion.source.array(constants[key])))
            where = self.conversion.tree.add_module(path or self.path(**weights), module)
            for key in weights:
                parameters.member(where, constants[key], [key])
            for key, operand in counted.items():
                parameters.statistic(where, constants[key], key, self.name, operand)
            return where

        identity = self.op, str(options), *((key, tensor.name) for key, tensor in constants.items())
        return self.shared_module(identity, place, *inputs)
