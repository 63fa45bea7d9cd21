"""What goes is the least loss for what it saves, where that is asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest

from graphprune import DataOptions, RecoveryOptions, RunOptions, RuntimeOptions, TimingOptions, prune
from graphprune.analysis.blocks import Block, find_joins
from graphprune.errors import OptionError
from graphprune.ir.loading import load
from graphprune.pass_infra.savings import Savings
from graphprune.plan.plan import Score
from tests.graphs import build

WIDTHS = (4, 64, 8, 2)
OPTIONS = RunOptions(
    data=DataOptions(samples=None),
    timing=TimingOptions(measure_latency=False),
    recovery=RecoveryOptions(repair=()),
    runtime=RuntimeOptions(threads=1),
)
DATA = {"x": np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)}


def uneven() -> onnx.ModelProto:
    """A residual MLP whose blocks have different widths, so that they save different numbers of MACs."""
    lines, weights = ["[stem] h0 = MatMul(x, w_stem)"], {"w_stem": (4, 8), "w_head": (8, 3)}
    for i, width in enumerate(WIDTHS):
        weights |= {f"a{i}": (8, width), f"b{i}": (width, 8)}
        lines += [f"[first{i}] p{i} = MatMul(h{i}, a{i})", f"[act{i}] q{i} = Tanh(p{i})"]
        lines += [f"[second{i}] r{i} = MatMul(q{i}, b{i})", f"[join{i}] h{i + 1} = Add(h{i}, r{i})"]
    lines.append(f"[head] y = MatMul(h{len(WIDTHS)}, w_head)")
    return build(f"(float[N,4] x) => (float[N,3] y) {{ {' '.join(lines)} }}", weights)


def test_the_loss_per_mac_decides() -> None:
    plain = prune(uneven(), "layer-cka{floor=0,skip_first=false}", DATA, "removed=1", options=OPTIONS)
    (removed,) = plain.plan.blocks
    by_score = {each.unit: each.score for each in removed.scores}
    macs = {f"join{i}": 2 * 8 * width for i, width in enumerate(WIDTHS)}
    rate = {name: score / macs[name] for name, score in by_score.items()}
    expected = min(rate, key=rate.__getitem__)
    assert expected != removed.name == min(by_score, key=by_score.__getitem__)
    for per in ("macs", "params"):
        spec = f"layer-cka{{floor=0,skip_first=false,per={per}}}"
        (weighed,) = prune(uneven(), spec, DATA, "removed=1", options=OPTIONS).plan.blocks
        assert weighed.name == expected
        assert weighed.score == pytest.approx(by_score[expected])  # the plan tells the score itself
        assert {each.unit: each.score for each in weighed.scores} == pytest.approx(by_score)


def test_after_the_repair_only_what_a_block_adds_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judged against the original, whose distance grows with every block."""
    known, real = [], Savings.weighed

    def weighed(self: Savings, candidates: Sequence[Block], scores: Sequence[Score], lost: float) -> list[Score]:
        known.append(lost)
        return real(self, candidates, scores, lost)

    monkeypatch.setattr(Savings, "weighed", weighed)
    repaired = RunOptions(data=DataOptions(samples=None), timing=OPTIONS.timing, runtime=OPTIONS.runtime)
    spec = "layer-cka{floor=0,skip_first=false,rescore=repaired,per=macs,samples=64}"
    first, _ = prune(uneven(), spec, DATA, "removed=2", options=repaired).plan.blocks
    assert known == [0.0, first.score]

    blocks = [join.block for join in find_joins(load(uneven())) if join.block][:2]
    scores = [Score("join0", 1.1, 0.0), Score("join1", 1.01, 0.0)]
    shares = {"join0": 0.5, "join1": 0.1}
    rates = [each.score for each in real(Savings("macs", shares), blocks, scores, 1.0)]
    assert rates == pytest.approx([0.2, 0.1])
    assert real(Savings("block", {}), blocks, scores, 1.0) == scores


def test_milliseconds_ask_for_a_time() -> None:
    with pytest.raises(OptionError, match="per=ms needs times, which only --target latency= measures"):
        prune(uneven(), "layer-cka{floor=0,skip_first=false,per=ms}", DATA, "removed=1", options=OPTIONS)
