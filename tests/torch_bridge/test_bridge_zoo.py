"""Every exported architecture as a module: equal outputs, gradients everywhere, weights back in the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the bridge leads to torch")

import torch

from graphprune.ir.loading import load
from graphprune.torch_bridge import to_torch
from tests.torch_bridge.checks import NO_GRADIENT, check, outputs_of_file, outputs_of_module, worst
from tests.zoo.entry import EXPORTERS, Exporter
from tests.zoo.export import ALIKE, CASES, ZOO

if TYPE_CHECKING:
    from tests.zoo.fixtures import Zoo

pytest_plugins = ["tests.zoo.fixtures"]

BOTH = ("resnet_se", "bert", "llama", "swin")
# Both exporters for some, one for the rest, in turn: tools/checks/bridge_zoo.py runs all of both.
SOME = [
    (name, exporter)
    for place, name in enumerate(dict.fromkeys(name for name, _ in CASES))
    for exporter in EXPORTERS
    if (name, exporter) in CASES and (name in (*BOTH, *ALIKE) or exporter == EXPORTERS[place % 2])
]
COMPILED = [("resnet_se", "torchscript"), ("llama", "torchscript"), ("swin", "torchscript"), ("bert", "dynamo")]
"""The older exporter writes out the arithmetic with sizes, which is what would break the graph for a compiler."""


@pytest.mark.parametrize(("name", "exporter"), SOME)
def test_a_network_as_a_module(zoo: Zoo, name: str, exporter: Exporter) -> None:
    path, feed = zoo(name, exporter)
    found = check(load(path), feed)
    assert found.error <= 1e-4
    assert found.error_after_change <= 1e-4
    assert found.unreached == NO_GRADIENT.get(name, [])
    assert found.is_same_again
    assert found.parameters


@pytest.mark.parametrize(("name", "exporter"), COMPILED)
def test_a_network_compiles_in_one_piece_and_runs_in_half_precision(zoo: Zoo, name: str, exporter: Exporter) -> None:
    path, feed = zoo(name, exporter)
    model = load(path)
    module = to_torch(model)
    expected = outputs_of_file(model, feed)
    torch._dynamo.reset()
    compiled: Any = torch.compile(module, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        assert worst(expected, outputs_of_module(compiled, model, feed)) <= 1e-4
    with torch.autocast("cpu", dtype=torch.bfloat16):
        halved = outputs_of_module(module, model, feed)
        torch.autograd.backward([tensor.float().sum() for tensor in halved])
    for one, other in zip(expected, halved, strict=True):
        assert np.abs(one - other.detach().float().numpy()).max() <= 0.1 * np.abs(one).max()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in module.parameters())


@pytest.mark.parametrize("name", ["espcn", "vit", "gpt2", "hf_convnext", "post_norm_encoder"])
def test_a_state_dict_written_before_the_export_still_fits(zoo: Zoo, name: str) -> None:
    """These have no norm that an exporter folds; what they hold must be there, under the same name."""
    path, _ = zoo(name, "dynamo")
    module, _ = ZOO[name].builder()
    original = dict(module.named_parameters())
    state = to_torch(load(path)).state_dict()
    assert not [key for key in original if key not in state]
    assert all(torch.equal(state[key], value) for key, value in original.items())
