"""Importance criteria. They see feature matrices, never graphs.

``from graphprune.importance import CIPLS, ClassCIPLS``: estimators of scikit-learn's contract, usable alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphprune.importance.cipls import CIPLS
    from graphprune.importance.class_cipls import ClassCIPLS

__all__ = ["CIPLS", "ClassCIPLS"]


def __getattr__(name: str) -> Any:
    """The estimators, imported on first use: scikit-learn takes a second."""
    if name == "CIPLS":
        from graphprune.importance.cipls import CIPLS

        return CIPLS
    if name == "ClassCIPLS":
        from graphprune.importance.class_cipls import ClassCIPLS

        return ClassCIPLS
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
