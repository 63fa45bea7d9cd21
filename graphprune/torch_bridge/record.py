"""Where the weights of a file are in the module made of it: noted on the module itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

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
    """Note on a module where its weights come from: in ``meta``, which copies keep, and as an attribute,
    which pickles keep.
    """
    meta: Any = module.meta
    meta[_RECORD] = stored
    setattr(module, _RECORD, stored)


def remembered(module: nn.Module) -> list[Stored] | None:
    """What :func:`remember` noted."""
    found: list[Stored] | None = getattr(module, "meta", {}).get(_RECORD, getattr(module, _RECORD, None))
    return found
