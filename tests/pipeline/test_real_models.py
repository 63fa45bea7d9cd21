"""On networks nobody here wrote: the papers' figures for MACs, whatever the exporter and the shortcut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import graphprune
from graphprune import RecoveryOptions, RunOptions, TimingOptions

pytestmark = pytest.mark.slow

QUIET = RunOptions(timing=TimingOptions(measure_latency=False), recovery=RecoveryOptions(repair=()))


@pytest.mark.parametrize(
    ("name", "macs", "ten", "all_21"),
    [
        ("authors_resnet56", 125_747_840, 37.52, 78.80),
        ("resnet56", 125_485_696, 37.60, 78.97),
        ("resnet56_bn", 125_485_696, 37.60, 78.97),
    ],
)
def test_the_papers_percentages(shared_models: Path, name: str, macs: int, ten: float, all_21: float) -> None:
    images = np.random.default_rng(0).standard_normal((16, 3, 32, 32)).astype(np.float32)
    for count, percent in ((10, ten), (21, all_21)):
        result = graphprune.prune(
            shared_models / f"{name}.onnx", ["layer-cka"], images, f"removed={count}", options=QUIET
        )
        assert result.before.macs == macs
        assert 100 * (1 - result.after.macs / macs) == pytest.approx(percent, abs=0.005)
        assert result.validation is not None
        assert result.validation.max_relative_error <= 1e-5


@pytest.mark.parametrize(
    ("name", "removable"), [("resnet20", 3), ("resnet32", 9), ("resnet44", 15), ("resnet56_jpeg", 21)]
)
def test_how_far_the_rules_allow(shared_models: Path, name: str, removable: int) -> None:
    images = np.random.default_rng(0).standard_normal((8, 3, 32, 32)).astype(np.float32)
    path = shared_models / f"{name}.onnx"
    result = graphprune.prune(path, ["layer-cka"], images, f"removed={removable}", dry_run=True, options=QUIET)
    assert result.plan.reached == removable
    with pytest.raises(graphprune.GraphpruneError, match=f"at most removed={removable}"):
        graphprune.prune(path, ["layer-cka"], images, f"removed={removable + 1}", dry_run=True, options=QUIET)
