"""Which networks are language models."""

from __future__ import annotations

import numpy as np
import pytest

from graphprune.analysis.language import is_language_model
from graphprune.analysis.model_analysis import analyse
from graphprune.ir import folding
from graphprune.ir.loading import load
from graphprune.runtime.sessions import RuntimeOptions
from tests.graphs import build

IDS = {"ids": np.zeros((1, 4), np.int64)}


@pytest.mark.parametrize(
    ("inputs", "out", "gathered", "is_one"),
    [
        ("int64[N,S] ids", 7, "ids", True),
        ("int64[N,S] ids", 7, "cast", True),
        ("int64[N,S] ids", 6, "ids", False),  # scores of something else
        ("int64[N,S] ids", 7, "other", False),  # positions, say
    ],
)
def test_tokens_in_and_scores_of_tokens_out(inputs: str, out: int, gathered: str, is_one: bool) -> None:
    proto = build(
        f"""({inputs}) => (float[N,S,{out}] y) {{ other = Abs(ids) cast = Cast<to = 6>(ids)
        e = Gather(table, {gathered}) y = MatMul(e, w) }}""",
        {"table": (7, 3), "w": (3, out)},
    )
    analysis = analyse(load(proto), IDS, RuntimeOptions(threads=1))
    assert is_language_model(analysis.model, analysis.sizes) == is_one


def test_an_embedding_that_is_the_last_layer_transposed_is_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "_LIMIT_BYTES", 0)  # a real one is too large to be folded
    proto = build(
        "(int64[N,S] ids) => (float[N,S,7] y) { t = Transpose<perm = [1, 0]>(w) e = Gather(t, ids) y = MatMul(e, w) }",
        {"w": (3, 7)},
    )
    analysis = analyse(load(proto), IDS, RuntimeOptions(threads=1))
    assert "Transpose" in {node.op for node in analysis.model.graph.nodes}  # as in files of onnxruntime-genai
    assert is_language_model(analysis.model, analysis.sizes)
