"""Similarity of the blocks of a network."""

from __future__ import annotations

import numpy as np
import pytest

from graphprune.importance.similarity import linear_cka
from graphprune.report.evidence.similarity import gather_similarity
from graphprune.run.loaded import LoadedRun, prepare
from graphprune.run.options import RunOptions
from tests.graphs import residual_mlp, run

OPTIONS = RunOptions(batch=8)


def subject(blocks: int, samples: int) -> tuple[LoadedRun, dict[str, np.ndarray]]:
    proto = residual_mlp(blocks)
    feeds = {"x": np.random.default_rng(0).standard_normal((samples, 4)).astype(np.float32)}
    for i in range(blocks):
        proto.graph.output.add(name=f"h{i + 1}").type.tensor_type.elem_type = 1
    names = [f"h{i + 1}" for i in range(blocks)]
    values = dict(zip(names, run(proto, feeds, names), strict=True))
    return prepare(residual_mlp(blocks), feeds, OPTIONS), values


def test_map_holds_the_cka_of_the_blocks_outputs() -> None:
    given, values = subject(4, 30)
    gone = frozenset({given.blocks[1].join})
    found = gather_similarity(given, gone, OPTIONS)
    exits = [block.exit for block in given.blocks]
    expected = [[linear_cka(values[one], values[other]) for other in exits] for one in exits]
    np.testing.assert_allclose(found.values, expected, atol=1e-5)
    assert found.names == tuple(block.name for block in given.blocks)
    assert found.removed == {given.blocks[1].name}
    assert found.samples == 30


def test_samples_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphprune.report.evidence.similarity._MOST_SAMPLES", 10)
    assert gather_similarity(subject(3, 30)[0], frozenset(), OPTIONS).samples == 10


def test_many_blocks_are_thinned_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphprune.report.evidence.similarity._MOST_BLOCKS", 3)
    found = gather_similarity(subject(5, 12)[0], frozenset(), OPTIONS)
    assert len(found.names) == 3 and found.note == "3 of 5 blocks"


@pytest.mark.parametrize(("blocks", "samples", "says"), [(1, 30, "fewer than two"), (3, 3, "too few")])
def test_nothing_to_compare_is_said(blocks: int, samples: int, says: str) -> None:
    found = gather_similarity(subject(blocks, samples)[0], frozenset(), OPTIONS)
    assert says in found.note and not found.values
