"""How a converted module is traced again, which unpickling does."""

from __future__ import annotations

import importlib
import math
import pkgutil
from typing import Any

from torch import fx


class KeepFunctions(fx.Tracer):
    """Unpickling traces a module anew; what the bridge's functions do inside is none of its graph,
    nor are buffers' values.
    """

    proxy_buffer_attributes = True

    def __init__(self) -> None:
        from graphprune.torch_bridge import functions

        parts = pkgutil.iter_modules(functions.__path__)
        modules = [importlib.import_module(f"{functions.__name__}.{part.name}") for part in parts]
        wrapped: Any = (math, *modules)
        super().__init__(autowrap_modules=wrapped)
