"""Modules as models: names, a free batch, refusals."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the bridge comes from torch")
pytest.importorskip("onnxscript", reason="torch exports through it")

import torch
from torch import Tensor, nn

from graphprune.errors import ModelError
from graphprune.ir.model import Model, constants
from graphprune.torch_bridge import from_torch, to_torch
from tests.torch_bridge.checks import outputs_of_file, outputs_of_module, worst
from tests.torch_bridge.graphs import draw


class Two(nn.Module):
    """Two inputs, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.fc = nn.Linear(6, 4)

    def forward(self, image: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.relu(self.norm(self.stem(image))).mean((2, 3))
        return self.fc(x) + shift, x


class Branching(nn.Module):
    """Asks the data which way to go."""

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            raise ValueError("cannot go on")
        return x


EXAMPLE = (torch.randn(2, 3, 8, 8), torch.randn(2, 4))


def _names(model: Model) -> set[str]:
    return {constant.name for constant in constants(model.graph)}


@pytest.mark.parametrize("keep_norms", [False, True])
def test_outputs_equal_at_any_batch(keep_norms: bool) -> None:
    module = Two().eval()
    model = from_torch(module, EXAMPLE, keep_norms=keep_norms)
    assert [tensor.name for tensor in model.graph.inputs] == ["image", "shift"]
    feed = {"image": draw(5, 3, 8, 8), "shift": draw(5, 4)}
    with torch.no_grad():
        assert worst(outputs_of_file(model, feed), list(module(*map(torch.from_numpy, feed.values())))) <= 1e-5
        assert worst(outputs_of_file(model, feed), outputs_of_module(to_torch(model), model, feed)) <= 1e-5


def test_norms_stay_apart_and_parameters_keep_their_names() -> None:
    module = Two()
    model = from_torch(module, EXAMPLE, keep_norms=True)
    assert "BatchNormalization" in [node.op for node in model.graph.nodes]
    wanted = set(dict(module.named_parameters())) | {"norm.running_mean", "norm.running_var"}
    assert wanted <= _names(model)
    state = module.state_dict()
    assert wanted <= set(to_torch(model).state_dict()) <= set(state)


def test_a_fixed_batch_on_demand() -> None:
    model = from_torch(nn.Linear(4, 2), torch.randn(3, 4), dynamic_batch=False)
    assert model.shapes[model.graph.inputs[0].name] == (3, 4)


def test_an_example_by_name() -> None:
    model = from_torch(Two(), {"shift": EXAMPLE[1], "image": EXAMPLE[0]})
    assert {tensor.name for tensor in model.graph.inputs} == {"image", "shift"}


def test_the_module_stays_in_the_mode_it_was_in() -> None:
    module = Two().train()
    module.norm.eval()
    from_torch(module, EXAMPLE)
    assert module.training
    assert module.fc.training
    assert not module.norm.training


def test_an_unknown_argument_is_refused() -> None:
    with pytest.raises(ModelError, match="no argument 'picture'"):
        from_torch(Two(), {"picture": EXAMPLE[0]})


def test_what_no_exporter_takes_is_refused_in_one_sentence_with_both_reasons() -> None:
    with pytest.raises(
        ModelError, match=r"Branching cannot be exported to ONNX \(torch.export: .*; TorchScript: "
    ) as caught:
        from_torch(Branching(), torch.ones(2, 2))
    assert "\n" not in str(caught.value)
    assert "cannot go on" in str(caught.value)
