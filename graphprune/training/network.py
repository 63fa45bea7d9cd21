"""A model as something that can be fed and trained: device, memory layout, precision,
and the way back into the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate

from graphprune.data.batching import Arrays
from graphprune.data.dataset import input_specs
from graphprune.data.fitting import InputSpec
from graphprune.decoder.cache_sizes import cache_sizes
from graphprune.decoder.interface import decoder_interface
from graphprune.decoder.steps import prefill
from graphprune.errors import ModelError, RuntimeMissing
from graphprune.ir.export import to_proto
from graphprune.ir.input_origins import fed_to
from graphprune.ir.model import Model, constants, read_values
from graphprune.torch_bridge import to_torch, write_back
from graphprune.training.memory_layout import layout_of
from graphprune.training.next_tokens import answer_of
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
        auto = torch.cuda.is_bf16_supported() if device.type == "cuda" else options.is_healing and _has_quick_bf16()
        return cls(device, auto if options.autocast == "auto" else options.autocast == "bf16")

    def precision(self) -> AbstractContextManager[Any]:
        """Mixed precision where it is on."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.is_mixed)


def _has_quick_bf16() -> bool:
    """Whether this processor multiplies in 16 bits, with which a step takes two thirds of the time."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class TrainableNetwork:
    """A model's module with its inputs in order. ``teacher`` makes it a fixed one.

    ``answer`` is the output that counts, None: all do. A cache that comes in empty is made in the model's own sizes.
    ``watched`` are tensors inside that :meth:`observed` gives, too.
    """

    def __init__(self, model: Model, place: Place, *, teacher: bool = False, watched: Sequence[str] = ()) -> None:
        self.model, self.place = model, place
        self.answer: int | None = None
        self._pasts = _empty_pasts(model)
        self.specs = input_specs(model)
        converted = to_torch(_with_outputs(model, watched) if watched else model)
        self.is_half = _to_single(converted)
        module: fx.GraphModule = converted.to(place.device)
        self._layout = layout_of(module, place.device)
        if any(len(spec.dims) == _IMAGE_RANK for spec in self.specs):
            module = module.to(memory_format=self._layout)  # type: ignore[call-overload,unused-ignore]
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

    def like(self, other: TrainableNetwork, tensors: list[Tensor]) -> list[Tensor]:
        """The inputs for the samples that ``tensors`` are for another network; of its cache one may have less."""
        given = {spec.name: tensor for spec, tensor in zip(other.specs, tensors, strict=True)}
        if not self._pasts or any(given[name].numel() for name in self._pasts if name in given):
            return [given[spec.name] for spec in self.specs]
        samples = max((len(tensor) for name, tensor in given.items() if name not in self._pasts), default=0)
        empty = {name: torch.zeros((samples, *sizes), device=self.place.device) for name, sizes in self._pasts.items()}
        return [empty[spec.name] if spec.name in empty else given[spec.name] for spec in self.specs]

    def run(self, tensors: list[Tensor]) -> list[Tensor]:
        """The outputs for inputs that are in place."""
        found = self.observed(tensors)
        return found[: 1 if self.answer is not None else len(self.model.graph.outputs)]

    def observed(self, tensors: list[Tensor], *, in_full: bool = False) -> list[Tensor]:
        """As :meth:`run`, and behind the outputs what is watched; ``in_full`` precision, whatever it is else."""
        with nullcontext() if in_full else self.place.precision():
            outputs: Any = self.module(*tensors)
        found = [outputs] if isinstance(outputs, Tensor) else list(outputs)
        return found if self.answer is None else [found[self.answer], *found[len(self.model.graph.outputs) :]]

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
        return tensor.to(memory_format=self._layout) if tensor.ndim == _IMAGE_RANK else tensor


def _with_outputs(model: Model, names: Sequence[str]) -> Model:
    """A copy in which tensors of these names are outputs, too."""
    wide = model.copy()
    tensors = wide.graph.tensors()
    wide.graph.outputs = [*wide.graph.outputs, *(tensors[name] for name in names)]
    return wide


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


def _empty_pasts(model: Model) -> dict[str, tuple[int, ...]]:
    """Inputs of the cache -> their sizes behind the samples, of none; nothing where a size is not known."""
    interface = decoder_interface(model)
    if interface is None:
        return {}
    specs = {spec.name: spec for spec in input_specs(model)}
    try:
        feeds = prefill(interface, specs, np.zeros((1, 1), np.int64), sizes=cache_sizes(model))
    except KeyError:
        return {}
    return {tensor.past: feeds[tensor.past].shape[1:] for tensor in interface.cache}


def check_teacher(model: Model, teacher: Model, *, is_text: bool = False) -> None:
    """Refuse a teacher that cannot be asked the same questions; of text, where the cache is empty, that may differ.

    Raises
    ------
    ModelError
        Its inputs have other names or dtypes, or it has fewer outputs.
    """
    networks = [(each, _empty_pasts(each) if is_text else {}) for each in (model, teacher)]
    mine, theirs = (
        {spec.name: spec.dtype for spec in input_specs(each) if spec.name not in pasts} for each, pasts in networks
    )
    if mine != theirs:
        raise ModelError(
            f"the unpruned network has the inputs {_listed(theirs)}, the model {_listed(mine)}",
            "give the network that the model was pruned from as the teacher",
        )
    known, knows = (_tokens_told_apart(each) if is_text else None for each in (model, teacher))
    if known != knows:
        raise ModelError(
            f"the unpruned network tells {knows} tokens apart, the model {known}",
            "give the network that the model was pruned from as the teacher",
        )
    if not is_text and len(model.graph.outputs) != len(teacher.graph.outputs):
        raise ModelError(
            f"the unpruned network has {len(teacher.graph.outputs)} outputs, the model {len(model.graph.outputs)}",
            "give the network that the model was pruned from as the teacher",
        )


def _tokens_told_apart(model: Model) -> object:
    """The last size of the scores of next tokens; None where there are none."""
    answer = answer_of(model)
    return None if answer is None else model.shapes[model.graph.outputs[answer].name][-1]


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
