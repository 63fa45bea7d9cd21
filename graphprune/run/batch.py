"""How many samples run at once: as many as asked for, but so few that the outputs for them fit the memory for those."""

from __future__ import annotations

from math import prod

from graphprune.analysis.model_analysis import ModelAnalysis

_OUTPUT_BYTES = 128 << 20


def fitting_batch(analysis: ModelAnalysis, batch: int) -> int:
    """At most ``batch``, at least 1: a language model gives 100 MB of logits for 512 tokens of one sample."""
    names = [tensor.name for tensor in analysis.model.graph.outputs]
    bytes_each = sum(4 * prod(analysis.sizes.get(name, ())) for name in names)
    return max(1, min(batch, _OUTPUT_BYTES // max(1, bytes_each)))
