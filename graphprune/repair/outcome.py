"""What a repair did, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerRepair:
    """Held-out error of one layer before and after, as a share of the variation of what it should compute.

    ``is_kept`` tells whether the new weights stayed; ``note`` says why not, or how they were found.
    """

    layer: str
    method: str
    before: float
    after: float
    is_kept: bool
    note: str = ""


@dataclass(frozen=True)
class RepairReport:
    """All layers, in the order in which they were repaired."""

    methods: tuple[str, ...]
    layers: tuple[LayerRepair, ...]
    samples: int
    seconds: float

    @property
    def kept(self) -> int:
        return sum(layer.is_kept for layer in self.layers)
