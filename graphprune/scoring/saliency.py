"""How much each weight of an untrained network matters for its first steps: SNIP and GraSP, by PyTorch.

Lee, Ajanthan and Torr, "SNIP" (ICLR 2019): ``|theta * g|`` with g the gradient of the cross-entropy. Wang, Zhang and
Grosse, "Picking Winning Tickets Before Training by Preserving Gradient Flow" (ICLR 2020): they remove the weights with
the largest ``-theta * (H g)``, H the Hessian. Here low goes first, so that the figure is ``theta * (H g)``, signed:
what is most negative goes, for without it the gradient is the largest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from graphprune.base import extras
from graphprune.data.dataset import Data
from graphprune.errors import DataError
from graphprune.ir.input_origins import fed_to
from graphprune.ir.model import Model, constant_dims, constants

if TYPE_CHECKING:
    from torch import Tensor, fx

Saliency = Literal["snip", "grasp"]
Pool = Literal["sum", "mean"]

_TINY = 1e-12


def saliencies(
    model: Model, data: Data, batch: int, kind: Saliency, progress: Callable[[int], None]
) -> dict[str, NDArray[np.float64]]:
    """For each trained initialiser the figures of its weights, in its shape.

    Gradients are means over all samples. Norms normalise by the batch, as in training, for the running statistics of an
    untrained network say nothing: the figures depend on ``batch`` where there are any.

    Raises
    ------
    DataError
        There are no labels, or the first output holds no class scores.
    RuntimeMissing, ModelError
        PyTorch is missing, or the model cannot be converted.
    """
    torch = extras.torch()
    from graphprune.torch_bridge import to_torch

    module = to_torch(model).float().train()
    weights = [each for each in module.parameters() if each.requires_grad]
    gradient = [torch.zeros_like(weight) for weight in weights]
    samples = 0
    for loss, count in _losses(model, module, data, batch):
        _add(gradient, torch.autograd.grad(loss, weights, allow_unused=True))
        samples += count
        progress(samples)
    gradient = [each / samples for each in gradient]
    found = gradient
    if kind == "grasp":
        found = [torch.zeros_like(weight) for weight in weights]
        for loss, _ in _losses(model, module, data, batch):
            first = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True)
            product = sum((own * fixed).sum() for own, fixed in zip(first, gradient, strict=True) if own is not None)
            _add(found, torch.autograd.grad(product, weights, allow_unused=True))
        found = [each / samples for each in found]
    values = [(weight.detach() * each).double().numpy() for weight, each in zip(weights, found, strict=True)]
    of_weight = {
        id(weight): np.abs(own) if kind == "snip" else own for weight, own in zip(weights, values, strict=True)
    }
    named = module.named_parameters(remove_duplicate=False)  # a weight goes by its name in the file, too
    figures = {name: of_weight[id(weight)] for name, weight in named if id(weight) in of_weight}
    return _in_file(model, module, figures)


def _losses(model: Model, module: fx.GraphModule, data: Data, batch: int) -> Iterator[tuple[Tensor, int]]:
    """The cross-entropy of each batch, its sum over the samples, and how many these are."""
    import torch
    from torch.nn import functional

    producers = model.graph.outputs[0].inputs
    is_probability = bool(producers) and producers[0].op == "Softmax"
    for part in data.batches(batch):
        if part.labels is None:
            raise DataError(
                f"{data.origin} has no labels, and an untrained network cannot stand in for them",
                "add labels to the data (an array 'labels' in the .npz)",
            )
        feeds = fed_to(model, part.feeds)
        inputs = [torch.from_numpy(np.array(feeds[spec.name])) for spec in data.specs]
        outputs = module(*[tensor.float() if tensor.is_floating_point() else tensor for tensor in inputs])
        scores = outputs if isinstance(outputs, torch.Tensor) else outputs[0]
        if scores.ndim != 2 or int(part.labels.max()) >= scores.shape[1] or int(part.labels.min()) < 0:
            raise DataError(
                f"the first output {list(scores.shape)} has no score for each class of the labels",
                "give class numbers from 0, and a network of that many classes",
            )
        scores = scores.clamp_min(_TINY).log() if is_probability else scores
        yield functional.cross_entropy(scores, torch.from_numpy(part.labels), reduction="sum"), len(part)


def _add(total: list[Tensor], part: tuple[Tensor | None, ...]) -> None:
    for index, each in enumerate(part):
        if each is not None:
            total[index] = total[index] + each.detach()


def _in_file(
    model: Model, module: fx.GraphModule, figures: dict[str, NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    """Figures by the names of the module, as those of the file's initialisers."""
    from graphprune.torch_bridge.layouts import LAYOUTS
    from graphprune.torch_bridge.record import remembered

    shapes = {constant.name: constant_dims(constant) for constant in constants(model.graph)}
    found: dict[str, NDArray[np.float64]] = {}
    for entry in remembered(module) or []:
        if entry.initialiser in shapes and all(key in figures for key in entry.keys):
            joined = LAYOUTS[entry.layout].join([figures[key] for key in entry.keys])
            found.setdefault(entry.initialiser, joined.reshape(shapes[entry.initialiser]))
    return found
