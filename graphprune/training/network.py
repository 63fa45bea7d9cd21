"""A model as something that can be fed and trained: device, memory layout, precision,
and the way back into the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate

from graphprune.data.batching import Arrays
from graphprune.data.dataset import input_specs
from graphprune.data.fitting import InputSpec
from graphprune.errors import ModelError, RuntimeMissing
from graphprune.ir.export import to_proto
from graphprune.ir.input_origins import fed_to
from graphprune.ir.model import Model, constants, read_values
from graphprune.torch_bridge import to_torch, write_back
from graphprune.training.options import TrainOptions

_IMAGE_RANK = 4
_HALVES = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Place:
    """Where and how precisely networks run."""

    device: torch.device
    is_mixed: bool

    @classmethod
    def of(cls, options: TrainOptions) -> Place:
        """The device and precision asked for.

        Raises
        ------
        RuntimeMissing
            CUDA was asked for by name and does not start.
        """
        has_cuda = torch.cuda.is_available()
        if options.device.startswith("cuda") and not has_cuda:
            raise RuntimeMissing(
                "training was asked for on CUDA, which PyTorch cannot start here",
                "install its CUDA build, or drop device",
            )
        device = torch.device(("cuda" if has_cuda else "cpu") if options.device == "auto" else options.device)
        auto = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return cls(device, auto if options.autocast == "auto" else options.autocast == "bf16")

    def precision(self) -> AbstractContextManager[Any]:
        """Mixed precision where it is on."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.is_mixed)


class TrainableNetwork:
    """A model's module with its inputs in order. ``teacher`` makes it a fixed one."""

    def __init__(self, model: Model, place: Place, *, teacher: bool = False) -> None:
        self.model, self.place = model, place
        self.specs = input_specs(model)
        converted = to_torch(model)
        self.is_half = _to_single(converted)
        module: nn.Module = converted.to(place.device)
        if any(len(spec.dims) == _IMAGE_RANK for spec in self.specs):
            module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload,unused-ignore]
        if teacher:
            module = module.eval().requires_grad_(False)
        self.module = module

    def __call__(self, feeds: Arrays) -> list[Tensor]:
        """The outputs for a batch of inputs."""
        return self.run(self.tensors(feeds))

    def tensors(self, feeds: Arrays) -> list[Tensor]:
        """The inputs in order, where and how the module wants them."""
        own = fed_to(self.model, feeds)
        return [self._tensor(spec, own[spec.name]) for spec in self.specs]

    def run(self, tensors: list[Tensor]) -> list[Tensor]:
        """The outputs for inputs that are in place."""
        with self.place.precision():
            outputs: Any = self.module(*tensors)
        return [outputs] if isinstance(outputs, Tensor) else list(outputs)

    def labels(self, labels: np.ndarray | None) -> Tensor | None:
        """Labels where the outputs are."""
        return None if labels is None else torch.from_numpy(labels).to(self.place.device)

    def settle(self) -> None:
        """End of training: to the processor, full precision, eval mode."""
        self.place = Place(torch.device("cpu"), is_mixed=False)
        self.module = self.module.to("cpu").eval()

    def written_back(self) -> Model:
        """A copy of the model with the module's weights, in the dtypes they came in."""
        self.settle()
        return write_back(self.model, self.module)

    def _tensor(self, spec: InputSpec, array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(array if array.flags.writeable else array.copy()).to(self.place.device)
        if tensor.dtype in _HALVES:
            tensor = tensor.float()
        return tensor.to(memory_format=torch.channels_last) if tensor.ndim == _IMAGE_RANK else tensor


def _to_single(module: fx.GraphModule) -> bool:
    """Let a module compute in 32 bits all that its file has in 16, which would swallow most steps; ``write_back`` makes
    the weights 16 bits again. Whether there was anything.
    """
    halves = [tensor for tensor in (*module.parameters(), *module.buffers()) if tensor.dtype in _HALVES]
    for tensor in halves:
        tensor.data = tensor.data.float()
    casts: list[torch.dtype] = []

    def single(argument: Any) -> Any:
        if argument not in _HALVES:
            return argument
        casts.append(argument)
        return torch.float32

    for node in module.graph.nodes:  # the type that a Cast makes is an argument of its node
        node.args = map_aggregate(node.args, single)
        node.kwargs = map_aggregate(node.kwargs, single)
    module.recompile()
    return bool(halves or casts)


def check_teacher(model: Model, teacher: Model) -> None:
    """Refuse a teacher that cannot be asked the same questions.

    Raises
    ------
    ModelError
        Its inputs have other names or dtypes, or it has fewer outputs.
    """
    mine, theirs = ({spec.name: spec.dtype for spec in input_specs(each)} for each in (model, teacher))
    if mine != theirs:
        raise ModelError(
            f"the unpruned network has the inputs {_listed(theirs)}, the model {_listed(mine)}",
            "give the network that the model was pruned from as the teacher",
        )
    if len(model.graph.outputs) != len(teacher.graph.outputs):
        raise ModelError(
            f"the unpruned network has {len(teacher.graph.outputs)} outputs, the model {len(model.graph.outputs)}",
            "give the network that the model was pruned from as the teacher",
        )


def fingerprint(model: Model) -> str:
    """A digest of graph and weights as they are in memory;
    the file's own does not tell what was cut since it was read.
    """
    digest = hashlib.sha256(to_proto(model, with_weights=False).SerializeToString(deterministic=True))
    for constant in constants(model.graph):
        digest.update(constant.name.encode())
        digest.update(np.ascontiguousarray(read_values(constant, model.folder)).data.cast("B"))
    return digest.hexdigest()[:16]


def has_folded_norms(model: Model) -> bool:
    """Convolutions, but no BatchNormalization or other norm to keep their outputs in bounds."""
    ops = {node.op for node in model.graph.nodes}
    return "Conv" in ops and not any("Normalization" in op for op in ops)


def trainable(parameters: Sequence[nn.Parameter]) -> list[nn.Parameter]:
    """Those that get a gradient.

    Raises
    ------
    ModelError
        There is none.
    """
    chosen = [parameter for parameter in parameters if parameter.requires_grad]
    if not chosen:
        raise ModelError("the model has no floating-point weights to train", "check that it is a float model")
    return chosen


def _listed(inputs: dict[str, np.dtype[Any]]) -> str:
    return ", ".join(f"'{name}' {dtype}" for name, dtype in inputs.items())
