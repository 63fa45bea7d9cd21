"""What every converted model must pass, asked of one model at a time."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import fx, nn

from graphprune.ir.export import to_proto
from graphprune.ir.model import Model
from graphprune.runtime.sessions import RuntimeOptions, open_model
from graphprune.runtime.sessions import run as run_session
from graphprune.torch_bridge import to_torch, write_back
from graphprune.validation.difference import relative_error

Feed = Mapping[str, np.ndarray]

TOLERANCE = 1e-4
NO_GRADIENT = {"highway": ["4.gate.weight", "4.gate.bias"]}
"""Network of the zoo -> parameters that no gradient reaches in the original either: a comparison passes none."""
_OPTIONS = RuntimeOptions(threads=1)


@dataclass
class Checked:
    """How far a converted model is from the file, before and after its weights changed,
    and what no gradient reaches.
    """

    error: float = 0.0
    error_after_change: float = 0.0
    parameters: int = 0
    unreached: list[str] = field(default_factory=list)
    is_same_again: bool = False

    @property
    def is_good(self) -> bool:
        return self.is_same_again and not self.unreached and max(self.error, self.error_after_change) <= TOLERANCE


def outputs_of_file(model: Model, feed: Feed) -> list[np.ndarray]:
    """What ONNX Runtime computes."""
    names = [tensor.name for tensor in model.graph.outputs]
    return list(run_session(open_model(model, _OPTIONS), dict(feed), names))


def outputs_of_module(module: nn.Module, model: Model, feed: Feed) -> list[torch.Tensor]:
    """What the module computes."""
    found = module(*(torch.from_numpy(feed[tensor.name]) for tensor in model.graph.inputs))
    return list(found) if isinstance(found, tuple) else [found]


def worst(expected: Sequence[np.ndarray], found: Sequence[torch.Tensor]) -> float:
    """The largest relative error of all outputs, whose shapes and types must be the same."""
    for one, other in zip(expected, found, strict=True):
        assert one.shape == tuple(other.shape), f"shape {one.shape} became {tuple(other.shape)}"
        assert str(one.dtype) == str(other.dtype).removeprefix("torch."), f"{one.dtype} became {other.dtype}"
    pairs = zip(expected, found, strict=True)
    return max(relative_error(one, other.detach().numpy()) for one, other in pairs)


def check(model: Model, feed: Feed) -> Checked:
    """Convert, compare, differentiate, write back."""
    module = to_torch(model)
    found = Checked(parameters=len(list(module.parameters())))
    with torch.no_grad():
        found.error = worst(outputs_of_file(model, feed), outputs_of_module(module, model, feed))
    found.unreached = unreached(module, model, feed)
    found.is_same_again = bytes_of(model) == bytes_of(write_back(model, module))
    changed = disturbed(module)
    with torch.no_grad():
        after = outputs_of_module(changed, model, feed)
    found.error_after_change = worst(outputs_of_file(write_back(model, changed), feed), after)
    return found


def bytes_of(model: Model) -> bytes:
    """The file."""
    content: bytes = to_proto(model).SerializeToString(deterministic=True)
    return content


def unreached(module: fx.GraphModule, model: Model, feed: Feed) -> list[str]:
    """Parameters to which no gradient comes from any output."""
    module.zero_grad(set_to_none=True)
    outputs = [tensor for tensor in outputs_of_module(module, model, feed) if tensor.is_floating_point()]
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros(())
    for tensor in outputs:
        total = total + (tensor * torch.randn(tensor.shape, generator=generator)).sum()
    if total.requires_grad:
        torch.autograd.backward(total)
    return [name for name, parameter in module.named_parameters() if parameter.grad is None]


def disturbed(module: fx.GraphModule) -> fx.GraphModule:
    """A copy whose weights and running statistics are a little different, as after a step of training."""
    module = copy.deepcopy(module)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1 + 0.1 * torch.rand(parameter.shape, generator=generator))
        for name, buffer in module.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.mul_(1 + 0.1 * torch.rand(buffer.shape, generator=generator))
    return module
