"""A batch is as large as asked for, unless what the network gives for it would be too much."""

from __future__ import annotations

import pytest

from graphprune import RunOptions
from graphprune.run import batch
from graphprune.run.loaded import prepare
from tests.graphs import random_feeds, residual_mlp


def test_fewer_samples_where_outputs_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    proto = residual_mlp(1)
    analysis = prepare(proto, random_feeds(proto, batch=4), RunOptions()).analysis
    (output,) = analysis.model.graph.outputs
    (_, *rest) = analysis.sizes[output.name]
    each = 4
    for size in rest:
        each *= size
    assert batch.fitting_batch(analysis, 32) == 32
    monkeypatch.setattr(batch, "_OUTPUT_BYTES", 3 * each)
    assert [batch.fitting_batch(analysis, asked) for asked in (32, 3, 2)] == [3, 3, 2]
    monkeypatch.setattr(batch, "_OUTPUT_BYTES", each - 1)
    assert batch.fitting_batch(analysis, 32) == 1
