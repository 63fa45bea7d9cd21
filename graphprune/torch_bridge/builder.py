"""What conversion has made so far: the graph, the modules, and where each weight went."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import torch
from torch import fx, nn

from graphprune.analysis.dataflow import DataFlow
from graphprune.analysis.names import layer_path
from graphprune.ir.model import Model, Shape, constant_dims, read_values
from graphprune.torch_bridge.dtypes import is_floating, to_array, to_tensor, torch_dtype
from graphprune.torch_bridge.layouts import LAYOUTS
from graphprune.torch_bridge.tree import Tree
from graphprune.torch_bridge.values import Numbers, Value, known, nested
from graphprune.torch_bridge.weights import is_named, is_trained

_RECORD = "graphprune_weights"


@dataclass(frozen=True)
class Stored:
    """Where a weight of the file is in the module.

    ``keys`` are names in the state dict; the layout joins their values to what ``initialiser`` holds. ``node`` and
    ``operand`` are set for what its reader alone changes, the running statistics of a norm: exporters let several norms
    share them.
    """

    initialiser: str
    keys: tuple[str, ...]
    layout: str = "same"
    node: str = ""
    operand: int = -1


def remember(module: nn.Module, stored: list[Stored]) -> None:
    """Note on a module where its weights come from: in ``meta``, which copies keep, and as an attribute, which pickles keep."""
    meta: Any = module.meta
    meta[_RECORD] = stored
    setattr(module, _RECORD, stored)


def remembered(module: nn.Module) -> list[Stored] | None:
    """What :func:`remember` noted."""
    found: list[Stored] | None = getattr(module, "meta", {}).get(_RECORD, getattr(module, _RECORD, None))
    return found


class KeepFunctions(fx.Tracer):
    """Unpickling traces a module anew; what the bridge's functions do inside is none of its graph, nor are buffers' values."""

    proxy_buffer_attributes = True

    def __init__(self) -> None:
        import importlib
        import pkgutil

        from graphprune.torch_bridge import functions

        parts = pkgutil.iter_modules(functions.__path__)
        modules = [importlib.import_module(f"{functions.__name__}.{part.name}") for part in parts]
        wrapped: Any = (math, *modules)
        super().__init__(autowrap_modules=wrapped)


class Builder:
    """Grows a torch.fx graph and its modules; the rules work through :class:`graphprune.torch_bridge.rules.Site`."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.graph = fx.Graph(tracer_cls=KeepFunctions)
        self.tree = Tree()
        self.values: dict[str, Value] = {}
        self.stored: list[Stored] = []
        self.aliases: list[tuple[str, nn.Parameter]] = []
        self.learned: set[str] = set()
        """Tensors that depend on a parameter."""
        self.parameters: dict[tuple[str, str], list[nn.Parameter]] = {}
        self.trained: set[str] = set()
        """Constants that are parameters."""
        self.tables: dict[tuple[str, str], tuple[int, ...]] = {}
        """Embeddings among the parameters, with their shapes."""
        self.absorbed: dict[str, str] = {}
        """Tensors that the layer in front computes already -> that layer's own output."""
        self.positive: set[fx.Node] = set()
        """Numbers that are no less than zero: sizes, their sums and products."""
        self._homes: dict[int, str] = {}
        self._buffers: dict[str, str] = {}
        self._modules: dict[Any, str] = {}
        self._sizes: dict[tuple[fx.Node, int], fx.Node] = {}
        self._tensors: dict[str, fx.Node] = {}
        self._arrays: dict[str, np.ndarray] = {}
        self._device: fx.Node | None = None

    @cached_property
    def view(self) -> DataFlow:
        return DataFlow(self.model)

    def add_input(self, name: str) -> None:
        """The next argument of ``forward``."""
        self.values[name] = self.graph.placeholder(_identifier(name))

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """A node that calls a function."""
        return self.graph.call_function(function, args, kwargs)

    def device(self) -> fx.Node:
        """The device of the first input, where tensors that nothing else determines are made."""
        if self._device is None:
            first = next(node for node in self.graph.nodes if node.op == "placeholder")
            self._device = self.call(getattr, first, "device")
        return self._device

    def shape(self, name: str) -> Shape | None:
        """Symbolic shape of a tensor, as far as it is known."""
        return self.model.shapes.get(name)

    def size(self, name: str, axis: int) -> int | fx.Node:
        """One size of a tensor: a number where it never changes, else asked of the tensor."""
        shape, value = self.shape(name), self.values[name]
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

    def array(self, constant: gs.Constant) -> np.ndarray:
        """What a constant holds; small ones are read once."""
        if constant.name not in self._arrays:
            values = read_values(constant, self.model.folder)
            if values.nbytes > 1 << 16:
                return values
            self._arrays[constant.name] = values
        return self._arrays[constant.name]

    def dtype(self, name: str) -> torch.dtype | None:
        """The type of a tensor, where it is known."""
        kind = self.model.dtypes.get(name)
        return torch_dtype(kind, f"tensor '{name}'") if kind else None

    def kind(self, constant: gs.Constant) -> int:
        """TensorProto.DataType of a constant."""
        from onnx.helper import np_dtype_to_tensor_dtype

        kind = self.model.dtypes.get(constant.name)
        return kind or int(np_dtype_to_tensor_dtype(self.array(constant).dtype))

    def tensor(self, name: str) -> fx.Node:
        """A computed value as a tensor; numbers become one here."""
        value = self.values[name]
        if isinstance(value, fx.Node):
            return value
        if name not in self._tensors:
            self._tensors[name] = self.as_tensor(value, self.dtype(name) or torch.int64)
        return self._tensors[name]

    def as_tensor(self, value: Numbers, dtype: torch.dtype) -> fx.Node:
        """A tensor of numbers, made anew in each call: its contents may depend on the sizes of the input."""
        from graphprune.torch_bridge.functions.numbers import tensor_of

        if value.size and not known(value):
            return self.call(tensor_of, nested(value.reshape(-1)), value.shape, dtype, self.device())
        array = torch.tensor(value.tolist(), dtype=dtype).reshape(value.shape)
        return self.graph.get_attr(self.tree.add_buffer("constants.numbers", array, persistent=False))

    def buffer(self, constant: gs.Constant) -> fx.Node:
        """A constant that is not trained."""
        if constant.name not in self._buffers:
            values = to_tensor(self.array(constant))
            persistent = is_named(constant.name)
            path = constant.name if persistent else f"constants.{_identifier(constant.name)}"
            self._buffers[constant.name] = self.tree.add_buffer(path, values, persistent=persistent)
        return self.graph.get_attr(self._buffers[constant.name])

    def weight(self, constant: gs.Constant, layout: str = "same") -> list[nn.Parameter]:
        """The parameters of a constant: the same ones for all who read it in the same layout."""
        key = constant.name, layout
        if key not in self.parameters:
            self.trained.add(constant.name)
            parts = LAYOUTS[layout].split(self.array(constant))
            self.parameters[key] = [nn.Parameter(to_tensor(part)) for part in parts]
        return self.parameters[key]

    def tied(self, weight: gs.Constant) -> tuple[str, str] | None:
        """An embedding whose transposed table a dense weight is: exporters fold the Transpose between them."""
        rows, columns = constant_dims(weight)
        tables = [key for key in self.tables if self.tables[key] == (columns, rows)]
        if not tables:
            return None
        values = self.array(weight)
        for key in tables:
            held = to_array(self.parameters[key][0], self.kind(weight))
            if np.array_equal(held, values.T) and (held != held.flat[0]).any():
                return key
        return None

    def tie(self, weight: gs.Constant, layout: str, key: tuple[str, str]) -> None:
        """Let a weight be the parameter under ``key``."""
        self.parameters[weight.name, layout] = self.parameters[key]
        self.trained.add(weight.name)
        home = self._homes[id(self.parameters[key][0])]
        self.stored.append(Stored(weight.name, (home,), layout))

    def free_parameter(self, constant: gs.Constant) -> fx.Node:
        """A parameter that belongs to no layer, under its own name."""
        (parameter,) = self.weight(constant)
        if id(parameter) not in self._homes:
            path = constant.name if is_named(constant.name) else f"weights.{_identifier(constant.name)}"
            self._note(constant, [self.tree.add_parameter(path, parameter)], [parameter], "same")
        return self.graph.get_attr(self._homes[id(parameter)])

    def member(self, module: str, constant: gs.Constant, keys: Sequence[str], layout: str = "same") -> None:
        """Note that parameters of ``constant`` are the members ``keys`` of a module that has just been placed."""
        held = self.weight(constant, layout)
        paths = [f"{module}.{key}" for key in keys]
        self._note(constant, paths, held, layout)
        if len(keys) == 1 and is_named(constant.name) and constant.name != paths[0] and layout == "same":
            self.aliases.append((constant.name, held[0]))

    def statistic(self, module: str, constant: gs.Constant, key: str, node: str, operand: int) -> None:
        """Note a buffer that training changes."""
        self.stored.append(Stored(constant.name, (f"{module}.{key}",), "same", node, operand))

    def _note(self, constant: gs.Constant, paths: list[str], held: Sequence[nn.Parameter], layout: str) -> None:
        if all(id(parameter) in self._homes for parameter in held):
            return
        for path, parameter in zip(paths, held, strict=True):
            self._homes.setdefault(id(parameter), path)
        self.stored.append(Stored(constant.name, tuple(paths), layout))

    def reuse(self, key: Any, make: Callable[[], str]) -> str:
        """The path of a module that several nodes share, made at its first use."""
        if key not in self._modules:
            self._modules[key] = make()
        return self._modules[key]

    def layer_path(self, node: str) -> str:
        """A path for a layer from what its node and weights are called."""
        return ".".join(layer_path(self.view, node)) or node

    def is_parameter(self, constant: gs.Constant, *, reader_is_learned: bool) -> bool:
        """Whether a constant that no layer claims is trained."""
        if not is_floating(self.kind(constant)) or not any(dim > 1 for dim in constant_dims(constant)):
            return False
        if (constant.name, "same") in self.parameters:
            return True
        return is_trained(constant.name, self.array(constant), reader_is_learned=reader_is_learned)

    def is_table(self, constant: gs.Constant) -> bool:
        """Whether a constant matrix that rows are picked from is trained: an embedding, not a table of positions."""
        return is_trained(constant.name, self.array(constant), reader_is_learned=False) or not is_named(constant.name)

    def finish(self) -> fx.GraphModule:
        """The module, with its outputs in the order of the file."""
        found = [self._output(tensor) for tensor in self.model.graph.outputs]
        self.graph.output(found[0] if len(found) == 1 else tuple(found))
        fx.GraphModule(self.tree.root, self.graph).graph.eliminate_dead_code()
        module = fx.GraphModule(self.tree.root, self.graph)  # anew, without the modules that died
        self._add_aliases(module)
        present = set(module.state_dict())
        remember(module, [entry for entry in self.stored if present.issuperset(entry.keys)])
        return module.eval()

    def _output(self, tensor: gs.Tensor) -> fx.Node:
        if isinstance(tensor, gs.Constant):
            return self.buffer(tensor)
        return self.tensor(tensor.name)

    def _add_aliases(self, module: fx.GraphModule) -> None:
        """Shared and oddly named weights also go by the name they have in the file."""
        tree = Tree()
        tree.root = module
        for path, parameter in self.aliases:
            if path not in module.state_dict() and tree.is_free(path):
                tree.add_parameter(path, parameter)


def _identifier(name: str) -> str:
    word = re.sub(r"\W+", "_", name).strip("_") or "x"
    return f"x_{word}" if word[0].isdigit() else word
