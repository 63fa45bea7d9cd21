"""Cutting the user's own module: it must compute what the pruned file does, or stay as it was."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("torch", reason="the bridge comes from torch")
pytest.importorskip("onnxscript", reason="torch exports through it")

import torch
from torch import Tensor, nn

from graphprune import torch_bridge
from graphprune.analysis.groups import Group, find_groups
from graphprune.axes.infer import infer
from graphprune.ir.loading import load
from graphprune.ir.model import Model
from graphprune.module_surgery import Report, apply_plan
from graphprune.module_surgery.matching import match
from graphprune.plan.plan import Decision, Plan, RemovedBlock, RemovedUnits
from graphprune.rewrite import remove_units
from graphprune.torch_bridge import from_torch
from tests.torch_bridge.checks import outputs_of_file, worst
from tests.zoo.export import ZOO

if TYPE_CHECKING:
    from tests.zoo.fixtures import Zoo

pytest_plugins = ["tests.zoo.fixtures"]


def _groups(model: Model) -> list[Group]:
    return [group for group in find_groups(model, infer(model)) if group.is_prunable]


def _plan(groups: Sequence[Group], *, blocks: tuple[RemovedBlock, ...] = ()) -> Plan:
    """Of each group every third unit."""
    units = tuple(RemovedUnits(g.name, g.kind, g.size, tuple(range(0, g.size - 1, 3)), 0, 0) for g in groups)
    return Plan("", (Decision("test", blocks, units=units),), "", 0.0, 0)


@pytest.mark.parametrize(
    ("name", "exporter"),
    [
        ("resnet_v1", "torchscript"),
        ("densenet", "torchscript"),
        ("shufflenet_v2", "dynamo"),  # TorchScript's file has fewer groups: the halves of a split are one
    ],
)
def test_every_group_of_a_cnn(zoo: Zoo, name: str, exporter: str) -> None:
    """The plan is made for the file with folded norms; the module has them."""
    path, feed = zoo(name, exporter)  # type: ignore[arg-type]
    model = load(path)
    module, inputs = ZOO[name].builder()
    groups = _groups(model)
    plan = _plan(groups)
    count = sum(parameter.numel() for parameter in module.parameters())
    report = apply_plan(module, plan, tuple(inputs.values()))
    assert not report.unapplied
    assert set(report.applied) == {group.name for group in groups}
    assert sum(parameter.numel() for parameter in module.parameters()) < count
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            assert part.weight.shape[:2] == (part.out_channels, part.in_channels // part.groups)
        if isinstance(part, nn.BatchNorm2d):
            assert part.weight.shape[0] == part.num_features
    typing = infer(model)
    small = remove_units(model, typing, match(plan, find_groups(model, typing)).kept)
    with torch.no_grad():
        assert worst(outputs_of_file(small, feed), [module(*map(torch.from_numpy, feed.values()))]) <= 1e-4


@pytest.mark.parametrize("name", ["gpt2", "vit"])  # one product for queries, keys and values; a product for each
def test_heads_and_neurons_of_a_transformer(zoo: Zoo, name: str) -> None:
    path, feed = zoo(name, "dynamo")
    model = load(path)
    groups = [group for group in _groups(model) if group.kind in ("heads", "neurons")]
    module, inputs = ZOO[name].builder()
    plan = _plan(groups)
    report = apply_plan(module, plan, tuple(inputs.values()))
    assert not report.unapplied
    assert len(report.applied) == len(groups) == 4
    typing = infer(model)
    small = remove_units(model, typing, match(plan, find_groups(model, typing)).kept)
    with torch.no_grad():
        assert worst(outputs_of_file(small, feed), [module(*map(torch.from_numpy, feed.values()))]) <= 1e-4


class Counting(nn.Module):
    """Its code holds the number of channels of the first layer; the second is free."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(5, 6)
        self.second = nn.Linear(6, 8)
        self.last = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        x = x.reshape(-1, 6)
        last: Tensor = self.last(torch.relu(self.second(x)))
        return last


@pytest.fixture(scope="module")
def groups() -> list[Group]:
    """Those of :class:`Counting`."""
    return _groups(from_torch(Counting(), torch.randn(2, 5)))


def _whole(module: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(module.state_dict())


def test_counts_in_the_code_keep_their_groups_and_the_rest_is_cut(groups: list[Group]) -> None:
    module, example = Counting(), torch.randn(2, 5)
    report = apply_plan(module, _plan(groups), example)
    assert report.applied == ("second/neurons",)
    assert [reason.split(":")[0] for reason in report.unapplied] == ["first/neurons"]
    assert (module.first.out_features, module.second.out_features, module.last.in_features) == (6, 5, 5)


def test_nothing_changes_where_nothing_can_be_cut(groups: list[Group]) -> None:
    module, example = Counting(), torch.randn(2, 5)
    before = _whole(module)
    report = apply_plan(module, _plan([group for group in groups if group.name == "first/neurons"]), example)
    assert not report.applied
    assert len(report.unapplied) == 1
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert module.first.out_features == 6


def test_blocks_unknown_groups_and_other_sizes_are_reported() -> None:
    module, example = Counting(), torch.randn(2, 5)
    block = RemovedBlock("layer1.0", "Add_3", "a", "b", 0, 0, 0.0, 0.0)
    units = (
        RemovedUnits("elsewhere/neurons", "neurons", 8, (1,), 0, 0),
        RemovedUnits("second/neurons", "neurons", 12, (1,), 0, 0),
    )
    report = apply_plan(module, Plan("", (Decision("test", (block,), units=units),), "", 0.0, 0), example)
    assert not report.applied
    assert "block layer1.0" in report.unapplied[0]
    assert "no group of this name" in report.unapplied[1]
    assert "12 units, the module has 8" in report.unapplied[2]


def test_decisions_in_turn_cut_what_the_ones_before_left() -> None:
    module, example = Counting(), torch.randn(2, 5)
    before = _whole(module)
    decisions = (
        Decision("one", units=(RemovedUnits("second/neurons", "neurons", 8, (0, 1), 0, 0),)),
        Decision("two", units=(RemovedUnits("second/neurons", "neurons", 6, (0, 5), 0, 0),)),
    )
    report = apply_plan(module, Plan("", decisions, "", 0.0, 0), example)
    assert report.applied == ("second/neurons",)
    assert torch.equal(module.second.weight, before["second.weight"][3:7])
    assert report.shapes["last.weight"] == ((3, 8), (3, 4))


def test_frozen_and_shared_parameters_stay_so() -> None:
    module, example = Counting(), torch.randn(2, 5)
    module.second.weight.requires_grad_(False)
    module.twin = module.second
    groups = [
        group for group in _groups(from_torch(module, example)) if group.size == 8
    ]  # the file names them by the twin
    apply_plan(module, _plan(groups), example)
    assert not module.second.weight.requires_grad
    assert module.second.bias.requires_grad
    assert module.twin is module.second
    assert np.prod(module.second.weight.shape) == 30


def test_the_bridge_still_knows_it_by_its_old_name() -> None:
    assert torch_bridge.apply_plan is apply_plan
    assert torch_bridge.Report is Report


class Recurrent(nn.Module):
    def __init__(self, directions: int) -> None:
        super().__init__()
        self.first = nn.Linear(4, 6)
        self.rnn = nn.LSTM(6, 7, batch_first=True, bidirectional=directions == 2)
        self.last = nn.Linear(7 * directions, 3)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.rnn(torch.relu(self.first(x)))
        found: Tensor = self.last(states)
        return found


@pytest.mark.parametrize("directions", [1, 2])
def test_hidden_units_of_a_recurrent_layer(directions: int) -> None:
    """Its gates stand in another order in the file, and torch keeps a list of its weights beside them."""
    torch.manual_seed(0)
    module = Recurrent(directions).eval()
    example = torch.randn(2, 5, 4)
    groups = _groups(from_torch(module, example))
    assert [group.size for group in groups] == [6, 7]
    report = apply_plan(module, _plan(groups), example)
    assert not report.unapplied
    assert (module.rnn.input_size, module.rnn.hidden_size) == (4, 5)
    assert module(example).shape == (2, 5, 3)
