"""Which constants of the file are parameters or buffers of the module, and under which path."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_graphsurgeon as gs
from torch import nn

from graphprune.ir.model import constant_dims
from graphprune.torch_bridge.dtypes import is_floating, to_array, to_tensor
from graphprune.torch_bridge.layouts import LAYOUTS
from graphprune.torch_bridge.record import Stored
from graphprune.torch_bridge.source import Source
from graphprune.torch_bridge.tree import Tree, identifier
from graphprune.torch_bridge.weights import is_named, is_trained


class Parameters:
    """The constants of the file that have a place in the module.

    Attributes
    ----------
    held : (constant, layout) -> its parameters.
    trained : names of the constants that are parameters.
    tables : embeddings among the parameters, with their shapes.
    stored : where each weight of the file went, for the way back.
    aliases : other names that parameters also go by.
    """

    def __init__(self, source: Source, tree: Tree) -> None:
        self.held: dict[tuple[str, str], list[nn.Parameter]] = {}
        self.trained: set[str] = set()
        self.tables: dict[tuple[str, str], tuple[int, ...]] = {}
        self.stored: list[Stored] = []
        self.aliases: list[tuple[str, nn.Parameter]] = []
        self._source = source
        self._tree = tree
        self._homes: dict[int, str] = {}
        self._buffers: dict[str, str] = {}

    def of(self, constant: gs.Constant, layout: str = "same") -> list[nn.Parameter]:
        """The parameters of a constant: the same ones for all who read it in the same layout."""
        key = constant.name, layout
        if key not in self.held:
            self.trained.add(constant.name)
            parts = LAYOUTS[layout].split(self._source.array(constant))
            self.held[key] = [nn.Parameter(to_tensor(part)) for part in parts]
        return self.held[key]

    def buffer(self, constant: gs.Constant) -> str:
        """The path of a constant that is not trained."""
        if constant.name not in self._buffers:
            values = to_tensor(self._source.array(constant))
            path = constant.name if is_named(constant.name) else f"constants.{identifier(constant.name)}"
            self._buffers[constant.name] = self._tree.add_buffer(path, values)
        return self._buffers[constant.name]

    def free(self, constant: gs.Constant) -> str:
        """The path of a parameter that belongs to no layer: its own name."""
        (parameter,) = self.of(constant)
        if id(parameter) not in self._homes:
            path = constant.name if is_named(constant.name) else f"weights.{identifier(constant.name)}"
            self._note(constant, [self._tree.add_parameter(path, parameter)], [parameter], "same")
        return self._homes[id(parameter)]

    def member(self, module: str, constant: gs.Constant, keys: Sequence[str], layout: str = "same") -> None:
        """Note that parameters of ``constant`` are the members ``keys`` of a module that has just been placed."""
        held = self.of(constant, layout)
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

    def tied(self, weight: gs.Constant) -> tuple[str, str] | None:
        """An embedding whose transposed table a dense weight is: exporters fold the Transpose between them."""
        rows, columns = constant_dims(weight)
        tables = [key for key in self.tables if self.tables[key] == (columns, rows)]
        if not tables:
            return None
        values = self._source.array(weight)
        for key in tables:
            held = to_array(self.held[key][0], self._source.kind(weight))
            if np.array_equal(held, values.T) and (held != held.flat[0]).any():
                return key
        return None

    def tie(self, weight: gs.Constant, layout: str, key: tuple[str, str]) -> None:
        """Let a weight be the parameter under ``key``."""
        self.held[weight.name, layout] = self.held[key]
        self.trained.add(weight.name)
        home = self._homes[id(self.held[key][0])]
        self.stored.append(Stored(weight.name, (home,), layout))

    def is_parameter(self, constant: gs.Constant, *, reader_is_learned: bool) -> bool:
        """Whether a constant that no layer claims is trained."""
        if not is_floating(self._source.kind(constant)) or not any(dim > 1 for dim in constant_dims(constant)):
            return False
        if (constant.name, "same") in self.held:
            return True
        return is_trained(constant.name, self._source.array(constant), reader_is_learned=reader_is_learned)

    def is_table(self, constant: gs.Constant) -> bool:
        """Whether a constant matrix that rows are picked from is trained: an embedding, not a table of positions."""
        values = self._source.array(constant)
        return is_trained(constant.name, values, reader_is_learned=False) or not is_named(constant.name)
