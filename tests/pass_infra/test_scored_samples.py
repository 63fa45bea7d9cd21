"""On how many samples blocks are scored: as many as are asked for, and a part of a decoder's text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest

from graphprune import RecoveryOptions, RunOptions, RuntimeOptions, TimingOptions, prune
from graphprune.errors import OptionError
from graphprune.pass_infra import scored_samples
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.joint.mixture import Mixture
from graphprune.plan.plan import Decision
from tests.decoder_graphs import Sizes, fused_decoder, plain_decoder
from tests.graphs import residual_mlp

OPTIONS = RunOptions(
    timing=TimingOptions(measure_latency=False),
    recovery=RecoveryOptions(repair=()),
    runtime=RuntimeOptions(threads=1),
)
IDS = {"input_ids": np.random.default_rng(0).integers(0, 40, (12, 6))}
FEW = "blocks were scored on the first 4 samples at most"


def decision(proto: onnx.ModelProto, spec: str, data: dict[str, np.ndarray]) -> Decision:
    (found,) = prune(proto, spec, data, "removed=1", options=OPTIONS).plan.decisions
    return found


def scores(found: Decision) -> list[tuple[str, float]]:
    return [(score.unit, score.score) for score in found.blocks[-1].scores]


def mlp_data() -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(0).standard_normal((12, 4), np.float32)}


@pytest.mark.parametrize("name", ["layer-cka", "layer-angular", "layer-kl"])
def test_as_many_as_are_asked_for(name: str) -> None:
    proto, data = residual_mlp(3), mlp_data()
    few = decision(proto, f"{name}{{samples=4}}", data)
    assert scores(few) == scores(decision(proto, name, {"x": data["x"][:4]}))
    assert scores(few) != scores(decision(proto, name, data))
    assert FEW in few.notes


@pytest.mark.parametrize("make", [fused_decoder, plain_decoder])
def test_a_decoder_is_scored_on_a_part_of_the_text(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    proto = make(Sizes(layers=3))
    every = decision(proto, "layer-cka", IDS)
    monkeypatch.setattr(scored_samples, "_TOKENS", 20)  # six in each sample
    part = decision(proto, "layer-cka", IDS)
    assert FEW in part.notes
    assert scores(part) == scores(decision(proto, "layer-cka", {"input_ids": IDS["input_ids"][:4]})) != scores(every)
    assert scores(decision(proto, "layer-cka{samples=12}", IDS)) == scores(every)


@pytest.mark.parametrize(("spec", "expected"), [("mop", 4), ("mop{samples=7}", 7)])
def test_mop_scores_on_a_part_of_the_text(spec: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def watched(mixture: Mixture, context: Context) -> Iterator[Decision]:
        asked.append(mixture.samples)
        return run(mixture, context)

    run = Mixture.run
    monkeypatch.setattr(scored_samples, "_TOKENS", 20)
    monkeypatch.setattr(Mixture, "run", watched)
    prune(fused_decoder(Sizes(layers=5)), spec, IDS, "params=0.9", options=OPTIONS)
    assert asked == [expected]


def test_nothing_is_said_where_all_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scored_samples, "_TOKENS", 1)
    assert not decision(residual_mlp(3), "layer-cka", mlp_data()).notes
    weights = decision(fused_decoder(Sizes(layers=3)), "layer-magnitude", IDS)
    assert not [note for note in weights.notes if "scored on" in note]


def test_none_is_refused() -> None:
    with pytest.raises(OptionError, match=r"option samples of layer-cka\{samples=0\} is 0"):
        decision(residual_mlp(3), "layer-cka{samples=0}", mlp_data())
