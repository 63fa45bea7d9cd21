"""What each tensor of the file has become in the new graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from graphprune.torch_bridge.functions.numbers import tensor_of
from graphprune.torch_bridge.source import Source
from graphprune.torch_bridge.tracing import KeepFunctions
from graphprune.torch_bridge.tree import Tree, identifier
from graphprune.torch_bridge.values import Numbers, Value, known, nested


class Tensors:
    """A torch.fx graph that grows, and the value that stands in it for each tensor.

    Attributes
    ----------
    values : name of a tensor -> what it has become.
    learned : tensors that depend on a parameter.
    absorbed : tensors that the layer in front computes already -> that layer's own output.
    positive : numbers that are no less than zero: sizes, their sums and products.
    """

    def __init__(self, source: Source, tree: Tree) -> None:
        self.graph = fx.Graph(tracer_cls=KeepFunctions)
        self.values: dict[str, Value] = {}
        self.learned: set[str] = set()
        self.absorbed: dict[str, str] = {}
        self.positive: set[fx.Node] = set()
        self._source = source
        self._tree = tree
        self._sizes: dict[tuple[fx.Node, int], fx.Node] = {}
        self._made: dict[str, fx.Node] = {}
        self._device: fx.Node | None = None

    def add_input(self, name: str) -> None:
        """The next argument of ``forward``."""
        self.values[name] = self.graph.placeholder(identifier(name))

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """A node that calls a function."""
        return self.graph.call_function(function, args, kwargs)

    def device(self) -> fx.Node:
        """The device of the first input, where tensors that nothing else determines are made."""
        if self._device is None:
            first = next(node for node in self.graph.nodes if node.op == "placeholder")
            self._device = self.call(getattr, first, "device")
        return self._device

    def size(self, name: str, axis: int) -> int | fx.Node:
        """One size of a tensor: a number where it never changes, else asked of the tensor."""
        shape, value = self._source.shape(name), self.values[name]
        dim = shape[axis] if shape is not None else None
        if isinstance(dim, int):
            return dim
        if not isinstance(value, fx.Node):
            return int(value.shape[axis])
        if (value, axis) not in self._sizes:
            node = self.graph.call_method("size", (value, axis))
            self.positive.add(node)
            self._sizes[value, axis] = node
        return self._sizes[value, axis]

    def tensor(self, name: str) -> fx.Node:
        """A computed value as a tensor; numbers become one here."""
        value = self.values[name]
        if isinstance(value, fx.Node):
            return value
        if name not in self._made:
            self._made[name] = self._of_numbers(value, self._source.dtype(name) or torch.int64)
        return self._made[name]

    def _of_numbers(self, value: Numbers, dtype: torch.dtype) -> fx.Node:
        """A tensor of numbers, made anew in each call: its contents may depend on the sizes of the input."""
        if value.size and not known(value):
            return self.call(tensor_of, nested(value.reshape(-1)), value.shape, dtype, self.device())
        array = torch.tensor(value.tolist(), dtype=dtype).reshape(value.shape)
        return self.graph.get_attr(self._tree.add_buffer("constants.numbers", array))
