"""Training-free pruning of a Llama by the rules of other papers, made again from their texts, and its perplexity.

python tools/figures/language_model_rivals.py FOLDER --calibration valid.npz --test test.npz --out rivals.jsonl

FOLDER is a transformers folder; the files hold ``input_ids``, int64 [chunks, tokens]. Shares are of all parameters,
embedding included; where whole layers go, the nearest count is taken and what was reached is said. ``--out`` is
continued: what it holds is not done again.

ShortGPT (Men et al. 2024): whole layers whose input and output point the same way. FLAP (An et al. 2024): neurons by
fluctuation of their activation times the squared norm of their outgoing weights, standardised in each layer and
compared over all; their mean output goes into a bias. Wanda-sp (in the same paper): neurons by activation norm times
weights, the same share in each layer. 2SSP (Sandri et al. 2025): neurons by the norm of their activations, and whole
attentions one after the other by perplexity. Heads are left alone in FLAP and Wanda-sp: with three groups of keys and
values each is a third of a layer's attention, and both lose more with them.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

SHARES = (0.10, 0.20, 0.25, 0.30)
FEW = 4  # chunks that 2SSP compares attentions on


def parameters(model: Any) -> int:
    return sum(int(each.numel()) for each in model.parameters())


def perplexity(model: Any, chunks: np.ndarray) -> float:
    import torch

    total = count = 0.0
    with torch.no_grad():
        for chunk in chunks:
            ids = torch.from_numpy(chunk)[None]
            logits = model(ids, use_cache=False).logits[0, :-1].float()
            total += torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum").item()
            count += ids.shape[1] - 1
    return math.exp(total / count)


@contextmanager
def hooked(modules: list[Any], see: Callable[[int, Any, Any], None]) -> Iterator[None]:
    """While inside, ``see`` is given number, input and output of each module that runs."""
    import torch

    def watch(number: int) -> Callable[[Any, Any, Any], None]:
        def forward(_: Any, given: Any, gave: Any) -> None:
            first = given[0] if given else None
            see(number, first, gave if isinstance(gave, torch.Tensor) else gave[0])

        return forward

    handles = [module.register_forward_hook(watch(number)) for number, module in enumerate(modules)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def feed(model: Any, chunks: np.ndarray) -> None:
    import torch

    with torch.no_grad():
        for chunk in chunks:
            model.model(torch.from_numpy(chunk)[None], use_cache=False)


def neuron_size(model: Any) -> int:
    return 3 * int(model.config.hidden_size)


def silence(model: Any, gone: list[np.ndarray], means: list[Any] | None = None) -> int:
    """Zero the outgoing weights of the neurons ``gone`` of each layer, their mean output into a bias where given;
    returns the parameters this removes.
    """
    import torch

    for layer, (block, which) in enumerate(zip(model.model.layers, gone, strict=True)):
        down = block.mlp.down_proj
        with torch.no_grad():
            index = torch.from_numpy(which)
            if means is not None:
                down.bias = torch.nn.Parameter(down.weight[:, index] @ means[layer][index].float())
            down.weight[:, index] = 0
    return sum(len(which) for which in gone) * neuron_size(model)


def short_gpt(model: Any, chunks: np.ndarray, share: float) -> int:
    import torch

    layers = model.model.layers
    turned = np.zeros(len(layers))

    def see(number: int, given: Any, gave: Any) -> None:
        turned[number] += float((1 - torch.nn.functional.cosine_similarity(given, gave, dim=-1)).mean())

    with hooked(list(layers), see):
        feed(model, chunks)
    size = parameters(layers[0])
    count = round(share * parameters(model) / size)
    kept = sorted(np.argsort(turned)[count:])
    model.model.layers = torch.nn.ModuleList([layers[each] for each in kept])
    for number, layer in enumerate(model.model.layers):
        layer.self_attn.layer_idx = number
    return count * size


def _activation_moments(model: Any, chunks: np.ndarray) -> tuple[list[Any], list[Any], int]:
    """Sum and sum of squares of what enters each down projection, float64, and the number of tokens."""
    import torch

    downs = [block.mlp.down_proj for block in model.model.layers]
    sums = [torch.zeros(down.in_features, dtype=torch.float64) for down in downs]
    squares = [torch.zeros(down.in_features, dtype=torch.float64) for down in downs]

    def see(number: int, given: Any, _: Any) -> None:
        rows = given.reshape(-1, given.shape[-1]).double()
        sums[number] += rows.sum(0)
        squares[number] += (rows**2).sum(0)

    with hooked(downs, see):
        feed(model, chunks)
    return sums, squares, int(chunks.size)


def flap(model: Any, chunks: np.ndarray, share: float) -> int:
    sums, squares, tokens = _activation_moments(model, chunks)
    means = [total / tokens for total in sums]
    scores = []
    for block, mean, square in zip(model.model.layers, means, squares, strict=True):
        variance = square / tokens - mean**2
        score = variance * (block.mlp.down_proj.weight.double() ** 2).sum(0)
        scores.append(((score - score.mean()) / score.std()).detach().numpy())
    count = round(share * parameters(model) / neuron_size(model))
    threshold = np.sort(np.concatenate(scores))[count]
    return silence(model, [np.flatnonzero(score < threshold) for score in scores], means)


def _per_layer(model: Any, share: float) -> int:
    return round(share * parameters(model) / neuron_size(model) / len(model.model.layers))


def wanda_sp(model: Any, chunks: np.ndarray, share: float) -> int:
    _, squares, _ = _activation_moments(model, chunks)
    each = _per_layer(model, share)
    gone = []
    for block, square in zip(model.model.layers, squares, strict=True):
        score = (block.mlp.down_proj.weight.double().abs() * square.sqrt()).sum(0).detach().numpy()
        gone.append(np.argsort(score)[:each])
    return silence(model, gone)


def two_stage(model: Any, chunks: np.ndarray, share: float) -> int:
    """2SSP: the number of attentions by its formula, the rest neurons."""
    import torch

    blocks = model.model.layers
    attention, mlp = parameters(blocks[0].self_attn), parameters(blocks[0].mlp)
    count = round(len(blocks) * math.pow(share, mlp / attention / 1.5))
    whole = parameters(model)
    _, squares, _ = _activation_moments(model, chunks)
    each = round((share * whole - count * attention) / neuron_size(model) / len(blocks))
    removed = silence(model, [np.argsort(square.sqrt().numpy())[:each] for square in squares])
    left = list(range(len(blocks)))
    for _ in range(count):
        losses = {}
        for number in left:
            projection = blocks[number].self_attn.o_proj
            kept = projection.weight.data
            projection.weight.data = torch.zeros_like(kept)
            losses[number] = perplexity(model, chunks[:FEW])
            projection.weight.data = kept
        best = min(left, key=losses.__getitem__)
        blocks[best].self_attn.o_proj.weight.data.zero_()
        left.remove(best)
    return removed + count * attention


METHODS: dict[str, Callable[[Any, np.ndarray, float], int]] = {
    "ShortGPT": short_gpt,
    "FLAP": flap,
    "Wanda-sp": wanda_sp,
    "2SSP": two_stage,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--calibration", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--methods", nargs="*", default=[*METHODS])
    words = parser.parse_args()
    import torch
    from transformers import AutoModelForCausalLM

    known = [json.loads(line) for line in words.out.read_text().splitlines()] if words.out.exists() else []
    chunks, test = np.load(words.calibration)["input_ids"], np.load(words.test)["input_ids"]
    torch.manual_seed(0)
    for name in ("dense", *words.methods):
        for share in SHARES if name != "dense" else (0.0,):
            if any(row["method"] == name and row["share"] == share for row in known):
                continue
            model: Any = AutoModelForCausalLM.from_pretrained(words.folder, dtype=torch.float32).eval()
            whole, started = parameters(model), time.perf_counter()
            removed = METHODS[name](model, chunks, share) if name != "dense" else 0
            seconds = time.perf_counter() - started
            row = {"method": name, "share": share, "reached": removed / whole, "seconds": round(seconds, 1)}
            row["perplexity"] = perplexity(model, test)
            with words.out.open("a") as out:
                out.write(json.dumps(row) + "\n")
            print(f"{name} {share:.0%}: {removed / whole:.1%} gone, perplexity {row['perplexity']:.2f}", flush=True)


if __name__ == "__main__":
    main()
