"""A user's own module cut in place as a plan says, and proved against the file cut in the same way: ``apply_plan``.

torch is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphprune.base import extras

if TYPE_CHECKING:
    from graphprune.module_surgery.own_module import Report, apply_plan

__all__ = ["Report", "apply_plan"]


def __getattr__(name: str) -> Any:
    """Import on first use; a missing torch is reported with the pip line that installs it."""
    if name not in __all__:
        raise AttributeError(f"module 'graphprune.module_surgery' has no attribute '{name}'")
    extras.torch()
    from graphprune.module_surgery import own_module

    return getattr(own_module, name)
