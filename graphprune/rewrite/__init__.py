"""Turn a decision into a smaller model. The only place that edits graphs."""

from graphprune.rewrite.blocks import remove_blocks
from graphprune.rewrite.linearise import linearise
from graphprune.rewrite.units import remove_units

__all__ = ["linearise", "remove_blocks", "remove_units"]
