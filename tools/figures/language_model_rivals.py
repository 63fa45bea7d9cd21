"""Training-free pruning of a Llama in transformers by the rules of other papers, made again from their texts.

Each rule cuts the model in place, as near as it can to a share of all parameters (embedding included).

ShortGPT (Men et al. 2024): whole layers whose input and output point the same way. FLAP (An et al. 2024): neurons by
fluctuation of their activation times the squared norm of their outgoing weights, standardised in each layer and
compared over all; their mean output goes into a bias. Wanda-sp (in the same paper): neurons by activation norm times
weights, the same share in each layer. 2SSP (Sandri et al. 2025): neurons by the norm of their activations, and whole
attentions one after the other by perplexity. FLAP and Wanda-sp leave heads alone here: with three groups of keys and
values each is a third of a layer's attention.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from language_model_quality import layer_count, peak_mib, torch_parameters

FEW = 4  # chunks that 2SSP compares attentions on


@dataclass(frozen=True)
class Moments:
    """What one pass of the dense model over the calibration chunks tells, by layer.

    ``sums``, ``squares`` and ``norms`` [layers, neurons] are of what the neurons hand on: sum, sum of squares, mean
    over chunks of the norm; ``turned`` [layers] is the mean of 1 - cosine between a layer's input and output.
    """

    sums: np.ndarray
    squares: np.ndarray
    norms: np.ndarray
    turned: np.ndarray
    tokens: int
    seconds: float
    processor_seconds: float
    peak_mib: int


@dataclass(frozen=True)
class Calibration:
    """The chunks [chunks, tokens] int64, and the file that keeps their moments: one pass serves all rules."""

    chunks: np.ndarray
    kept: Path

    def moments(self, model: Any) -> Moments:
        """Of the dense ``model``."""
        if not self.kept.exists():
            np.savez(self.kept, **asdict(moments(model, self.chunks)))
        with np.load(self.kept) as arrays:
            found = {name: arrays[name] for name in arrays.files}
        return Moments(**{name: value if value.ndim else value.item() for name, value in found.items()})


Rule = Callable[[Any, Calibration, float], None]


def moments(model: Any, chunks: np.ndarray) -> Moments:
    import torch

    started = time.perf_counter(), time.process_time()
    layers = list(model.model.layers)
    downs = [layer.mlp.down_proj for layer in layers]
    sums, squares, norms = (np.zeros((len(downs), downs[0].in_features)) for _ in range(3))
    turned = np.zeros(len(layers))

    def see_neurons(number: int, given: Any, _: Any) -> None:
        rows = given.reshape(-1, given.shape[-1]).double()
        square = (rows**2).sum(0).numpy()
        sums[number] += rows.sum(0).numpy()
        squares[number] += square
        norms[number] += np.sqrt(square) / len(chunks)

    def see_stream(number: int, given: Any, gave: Any) -> None:
        cosine = torch.nn.functional.cosine_similarity(given, gave, dim=-1)
        turned[number] += float((1 - cosine).mean()) / len(chunks)

    with torch.no_grad(), hooked(downs, see_neurons), hooked(layers, see_stream):
        for chunk in chunks:
            model.model(torch.from_numpy(chunk)[None], use_cache=False)
    seconds = time.perf_counter() - started[0], time.process_time() - started[1]
    return Moments(sums, squares, norms, turned, int(chunks.size), *seconds, peak_mib())


@contextmanager
def hooked(modules: Sequence[Any], see: Callable[[int, Any, Any], None]) -> Iterator[None]:
    """While inside, ``see`` is given number, input and output of each module that runs."""
    import torch

    def watch(number: int) -> Callable[[Any, Any, Any], None]:
        def forward(_: Any, given: Any, gave: Any) -> None:
            see(number, given[0], gave if isinstance(gave, torch.Tensor) else gave[0])

        return forward

    handles = [module.register_forward_hook(watch(number)) for number, module in enumerate(modules)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def neuron_size(model: Any) -> int:
    """Parameters of a neuron: a row of gate and up, a column of down."""
    return 3 * int(model.config.hidden_size)


def cut_neurons(model: Any, kept: Sequence[np.ndarray], biases: Sequence[Any] | None = None) -> None:
    """Keep the neurons ``kept`` of each layer; ``biases`` are what its MLP then adds."""
    import torch

    def linear(weight: Any, bias: Any = None) -> Any:
        found = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
        found.weight = torch.nn.Parameter(weight.detach().clone())
        if bias is not None:
            found.bias = torch.nn.Parameter(bias.detach().clone())
        return found

    for number, (layer, which) in enumerate(zip(model.model.layers, kept, strict=True)):
        mlp, index = layer.mlp, torch.from_numpy(np.sort(which))
        bias = None if biases is None else biases[number].float()
        mlp.gate_proj = linear(mlp.gate_proj.weight[index])
        mlp.up_proj = linear(mlp.up_proj.weight[index])
        mlp.down_proj = linear(mlp.down_proj.weight[:, index], bias)


def short_gpt(model: Any, calibration: Calibration, share: float) -> None:
    import torch

    turned = calibration.moments(model).turned
    layers = model.model.layers
    count = layer_count(torch_parameters(model), torch_parameters(layers[0]), share)
    kept = sorted(np.argsort(turned, kind="stable")[count:])
    model.model.layers = torch.nn.ModuleList([layers[each] for each in kept])
    for number, layer in enumerate(model.model.layers):
        layer.self_attn.layer_idx = number
    model.config.num_hidden_layers = len(kept)


def flap(model: Any, calibration: Calibration, share: float) -> None:
    import torch

    seen = calibration.moments(model)
    means = seen.sums / seen.tokens
    columns = [layer.mlp.down_proj.weight.detach().double() for layer in model.model.layers]
    squares = np.stack([(weight**2).sum(0).numpy() for weight in columns])
    scores = (seen.squares / seen.tokens - means**2) * squares
    scores = (scores - scores.mean(1, keepdims=True)) / scores.std(1, ddof=1, keepdims=True)
    limit = np.sort(scores, axis=None)[round(share * torch_parameters(model) / neuron_size(model))]
    gone = [torch.from_numpy(np.flatnonzero(row < limit)) for row in scores]
    biases = [
        weight[:, index] @ torch.from_numpy(mean)[index]
        for weight, index, mean in zip(columns, gone, means, strict=True)
    ]
    cut_neurons(model, [np.flatnonzero(row >= limit) for row in scores], biases)


def wanda_sp(model: Any, calibration: Calibration, share: float) -> None:
    norms = np.sqrt(calibration.moments(model).squares)
    weights = [layer.mlp.down_proj.weight.detach().double().abs().sum(0).numpy() for layer in model.model.layers]
    _cut_alike(model, norms * np.stack(weights), share * torch_parameters(model))


def two_stage(model: Any, calibration: Calibration, share: float) -> None:
    """2SSP: the number of attentions by its formula, the rest neurons."""
    layers = model.model.layers
    attention, mlp = torch_parameters(layers[0].self_attn), torch_parameters(layers[0].mlp)
    count = round(len(layers) * math.pow(share, mlp / attention / 1.5))
    _cut_alike(model, calibration.moments(model).norms, share * torch_parameters(model) - count * attention)
    left = list(range(len(layers)))
    for _ in range(count):
        losses = _without_attention(model, calibration.chunks[:FEW], left)
        worst = min(left, key=losses.__getitem__)
        layers[worst].self_attn = no_attention()
        left.remove(worst)


def _cut_alike(model: Any, scores: np.ndarray, parameters: float) -> None:
    """The neurons of least score, as many in each layer, that hold so many parameters together."""
    each = round(parameters / neuron_size(model) / len(scores))
    cut_neurons(model, [np.argsort(row, kind="stable")[each:] for row in scores])


def no_attention() -> Any:
    """What adds nothing to the stream, in the place of an attention."""
    import torch

    class NoAttention(torch.nn.Module):
        def forward(self, hidden_states: Any, **_: Any) -> tuple[Any, None]:
            return torch.zeros_like(hidden_states), None

    return NoAttention()


def _without_attention(model: Any, chunks: np.ndarray, candidates: Sequence[int]) -> dict[int, float]:
    """The loss on ``chunks`` without each of these attentions; a trial starts at its own layer."""
    import torch

    layers = model.model.layers
    losses = dict.fromkeys(candidates, 0.0)
    seen: dict[int, tuple[Any, dict[str, Any]]] = {}

    def watch(number: int) -> Callable[[Any, Any, Any], None]:
        def before(_: Any, given: Any, words: Any) -> None:
            seen[number] = given[0], words

        return before

    handles = [layer.register_forward_pre_hook(watch(number), with_kwargs=True) for number, layer in enumerate(layers)]
    with torch.no_grad():
        for chunk in chunks:
            ids = torch.from_numpy(chunk)
            model.model(ids[None], use_cache=False)
            for number in candidates:
                stream, words = seen[number]
                own, layers[number].self_attn = layers[number].self_attn, no_attention()
                for layer in layers[number:]:
                    stream = layer.forward(stream, **words)  # past the hooks
                layers[number].self_attn = own
                logits = model.lm_head(model.model.norm(stream))[0, :-1]
                losses[number] += torch.nn.functional.cross_entropy(logits, ids[1:]).item()
    for handle in handles:
        handle.remove()
    return losses


RIVALS: dict[str, Rule] = {"ShortGPT": short_gpt, "FLAP": flap, "Wanda-sp": wanda_sp, "2SSP": two_stage}
