"""The bridge to PyTorch: a model as a trainable module, its values back into the file, and modules from outside.

``to_torch`` makes ordinary modules of a model, ``write_back`` puts what they have learned into a copy of it, ``from_torch``
exports a module, and ``apply_plan`` cuts the user's own module as a plan says. torch is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphprune.torch_bridge.convert import to_torch
    from graphprune.torch_bridge.export import from_torch
    from graphprune.torch_bridge.own_module import Report, apply_plan
    from graphprune.torch_bridge.writing import write_back

__all__ = ["Report", "apply_plan", "from_torch", "to_torch", "write_back"]

_HOMES = {
    "Report": "own_module",
    "apply_plan": "own_module",
    "from_torch": "export",
    "to_torch": "convert",
    "write_back": "writing",
}


def __getattr__(name: str) -> Any:
    """Import on first use; a missing torch is reported with the pip line that installs it."""
    if name not in _HOMES:
        raise AttributeError(f"module 'graphprune.torch_bridge' has no attribute '{name}'")
    import importlib

    from graphprune.base import extras

    extras.torch()
    return getattr(importlib.import_module(f"graphprune.torch_bridge.{_HOMES[name]}"), name)
