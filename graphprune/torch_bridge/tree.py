"""The modules under construction: dotted paths, made where they are free."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable

from torch import Tensor, nn


class Tree:
    """A root module that grows by paths; containers in between are plain modules."""

    def __init__(self) -> None:
        self.root = nn.Module()
        self._shared: dict[Hashable, str] = {}

    def shared(self, key: Hashable, make: Callable[[], str]) -> str:
        """The path of a module that several nodes share; ``make`` puts it there at its first use."""
        if key not in self._shared:
            self._shared[key] = make()
        return self._shared[key]

    def add_module(self, path: str, module: nn.Module) -> str:
        """Put ``module`` at ``path``, or at the next free path like it; returns where."""
        path = self._free(path)
        parent, name = self._parent(path)
        parent.add_module(name, module)
        return path

    def add_parameter(self, path: str, parameter: nn.Parameter) -> str:
        """Put ``parameter`` at ``path``, or at the next free path like it; returns where."""
        path = self._free(path)
        parent, name = self._parent(path)
        parent.register_parameter(name, parameter)
        return path

    def add_buffer(self, path: str, buffer: Tensor) -> str:
        """Put a buffer at ``path``, or at the next free path like it; returns where.

        It is in the module's state, for torch.fx forgets of buffers that they are not to be.
        """
        path = self._free(path)
        parent, name = self._parent(path)
        parent.register_buffer(name, buffer)
        return path

    def _parent(self, path: str) -> tuple[nn.Module, str]:
        *containers, name = path.split(".")
        parent = self.root
        for container in containers:
            if container not in parent._modules:
                parent.add_module(container, nn.Module())
            parent = parent.get_submodule(container)
        return parent, name

    def _free(self, path: str) -> str:
        path = clean(path)
        if self.is_free(path):
            return path
        number = 1
        while not self.is_free(f"{path}_{number}"):
            number += 1
        return f"{path}_{number}"

    def is_free(self, path: str) -> bool:
        """Nothing is there yet, or a container that was made for its children; and a module may stand on the way."""
        *containers, name = path.split(".")
        parent = self.root
        for container in containers:
            if container in parent._modules:
                parent = parent.get_submodule(container)
            elif hasattr(parent, container):
                return False
            else:
                return not any(hasattr(nn.Module, part) for part in (container, name))
        return not hasattr(parent, name)


def clean(path: str) -> str:
    """A path that torch accepts: words joined by dots, none of them a method of a module."""
    parts = [part if part.isidentifier() else re.sub(r"\W+", "_", part).strip("_") for part in path.split(".")]
    parts = [part for part in parts if part]
    return ".".join(f"{part}_" if hasattr(nn.Module, part) else part for part in parts) or "layer"


def identifier(name: str) -> str:
    """One word that Python accepts, for a name of the file."""
    word = re.sub(r"\W+", "_", name).strip("_") or "x"
    return f"x_{word}" if word[0].isdigit() else word
