"""``graphprune.prune`` of a module: the file, the plan and the pruned module say the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the bridge is to PyTorch")
pytest.importorskip("onnxscript", reason="torch exports through it")

import torch
from torch import nn

import graphprune
from graphprune import RunOptions, RuntimeOptions, TimingOptions
from graphprune.errors import OptionError
from tests.graphs import run

QUIET = RunOptions(batch=8, timing=TimingOptions(measure_latency=False), runtime=RuntimeOptions(threads=1))


class Net(nn.Module):
    """A stem, one residual block, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv1, self.conv2 = nn.Conv2d(8, 12, 3, padding=1), nn.Conv2d(12, 8, 3, padding=1)
        self.linear = nn.Linear(8, 5)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.stem(image)))
        x = x + self.conv2(torch.relu(self.conv1(x)))
        scores: torch.Tensor = self.linear(x.mean((2, 3)))
        return scores


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((24, 3, 8, 8)).astype(np.float32)


def test_module_file_and_plan(images: np.ndarray, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Net().eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    out = tmp_path / "small.onnx"
    result = graphprune.prune(module, ["filter-magnitude"], {"image": images}, "removed=4", out, options=QUIET)
    assert result.source == "a Net"
    assert [units.group for units in result.plan.units] == ["conv1/filters"]
    small = result.module().eval()
    expected = run(out, {"image": images})[0]
    np.testing.assert_allclose(small(torch.from_numpy(images)).detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    sizes = {name: tuple(value.shape) for name, value in small.state_dict().items()}
    assert sizes["conv1.weight"] == (8, 8, 3, 3)
    assert sizes["norm.running_mean"] == (8,)  # the norm has stayed, under its name
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_the_example_may_be_given(images: np.ndarray, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", image=images)
    call = {"passes": ["filter-magnitude"], "data": tmp_path / "data.npz", "target": "removed=4", "options": QUIET}
    with pytest.raises(OptionError, match="nothing that it is called with"):
        graphprune.prune(Net(), **call)  # type: ignore[arg-type]
    result = graphprune.prune(Net(), **call, example=torch.zeros(2, 3, 8, 8))  # type: ignore[arg-type]
    assert result.plan.units
