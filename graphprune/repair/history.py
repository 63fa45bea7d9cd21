"""What led from the network as given to the present one."""

from __future__ import annotations

from dataclasses import dataclass

from graphprune.ir.model import Model
from graphprune.rewrite.removal import Removal


@dataclass(frozen=True)
class History:
    """``removals`` led from ``origin``, the network as given, to the present one,
    whose weights have followed if it ``is_repaired``.

    ``repairs`` names those that are made at the end.
    """

    origin: Model
    removals: tuple[Removal, ...] = ()
    is_repaired: bool = True
    repairs: tuple[str, ...] = ()
