"""The bridge to PyTorch: a model as a trainable module, its values back into the file, and modules from outside.

``to_torch`` makes ordinary modules of a model, ``write_back`` puts what they have learned into a copy of it,
``from_torch`` exports a module. torch is imported on first use. A user's own module is cut by
:mod:`graphprune.module_surgery`, which stands above this room;
its ``apply_plan`` and ``Report`` also go by the name they had here.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from graphprune.base import extras

if TYPE_CHECKING:
    from graphprune.torch_bridge.convert import to_torch
    from graphprune.torch_bridge.export import from_torch
    from graphprune.torch_bridge.writing import write_back

__all__ = ["from_torch", "to_torch", "write_back"]

_HOMES = {
    "from_torch": "graphprune.torch_bridge.export",
    "to_torch": "graphprune.torch_bridge.convert",
    "write_back": "graphprune.torch_bridge.writing",
    "Report": "graphprune.module_surgery",  # old names: nothing here knows that room, they are looked up when asked for
    "apply_plan": "graphprune.module_surgery",
}


def __getattr__(name: str) -> Any:
    """Import on first use; a missing torch is reported with the pip line that installs it."""
    if name not in _HOMES:
        raise AttributeError(f"module 'graphprune.torch_bridge' has no attribute '{name}'")
    extras.torch()
    return getattr(importlib.import_module(_HOMES[name]), name)
