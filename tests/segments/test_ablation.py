"""Features without each block: the same in however many batches, and nothing is run that they do not need."""

from __future__ import annotations

import numpy as np
import pytest

from graphprune.analysis.blocks import find_joins
from graphprune.analysis.representation import Representation
from graphprune.data.dataset import Data, input_specs
from graphprune.ir.loading import load
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.segments.ablation import ablations
from graphprune.segments.runner import Segments
from tests.graphs import random_feeds, residual_mlp

THERE = [Representation("h4", "last")]


@pytest.mark.parametrize(("batch", "threads"), [(12, 2), (12, 1), (6, 3), (4, 2), (4, 1)])
def test_few_batches_and_many_say_the_same(batch: int, threads: int) -> None:
    """With fewer batches than threads, candidates run side by side instead of batches."""
    proto = residual_mlp(4)
    model = load(proto)
    blocks = [join.block for join in find_joins(model) if join.block]
    segments = Segments.at_blocks(model, blocks, ["h4"], RuntimeOptions(threads=1))
    feeds = random_feeds(proto, 12)
    data = Data(tuple(input_specs(model)), lambda: iter([feeds]), "arrays", "here")
    gone = frozenset([blocks[1].join])
    left = [block for block in blocks if block.join not in gone]
    parts = list(ablations(segments, THERE, left, gone, data, batch, threads))
    env = segments.run(feeds, gone)
    assert [len(part.reference[0]) for part in parts] == [batch] * (12 // batch)
    assert np.allclose(np.concatenate([part.reference[0] for part in parts]), env["h4"].numpy(), rtol=1e-5)
    for index, block in enumerate(left):
        found = np.concatenate([part.candidates[index][0] for part in parts])
        assert np.allclose(found, segments.without(env, block, gone)["h4"].numpy(), rtol=1e-5, atol=1e-6)


def test_what_no_target_needs_is_not_run() -> None:
    """A language model's head is wide."""
    model = load(residual_mlp(3))
    blocks = [join.block for join in find_joins(model) if join.block]
    options = RuntimeOptions(threads=1)
    inner, whole = (Segments.at_blocks(model, blocks, [target], options) for target in ("h3", "y"))
    assert "head" not in {name for segment in inner.chain.segments for name in segment.nodes}
    assert "head" in {name for segment in whole.chain.segments for name in segment.nodes}
