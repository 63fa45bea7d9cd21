"""Decoders with a cache, of families that people deploy: which units can go of what the exporters make of them.

Each family is built small, with random weights, from its class in transformers, and exported by onnxruntime-genai's
builder (``fused``; it knows no GPT-2 and no mixture) and by torch's older exporter with a cache (``plain``). Of each
file every KV group and every MLP must be found, and one unit of each is cut; every attention, every MLP and every layer
is taken out by itself. All is proved against the masked original over decoding steps. A family is exported in the first
style that it has, unless one is asked for. Needs transformers and onnxruntime-genai.

    python tools/checks/decoders.py [FAMILY ...] [--style fused|plain] [--folder KEPT]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from graphprune.errors import GraphpruneError
from graphprune.ir.model import Model

os.environ.setdefault("HF_HUB_OFFLINE", "1")

_LAYERS = 2
_VOCABULARY = 200  # no other layer is as wide: the builder takes one that is for the head
_COMMON = {"hidden_size": 64, "vocab_size": _VOCABULARY, "max_position_embeddings": 256, "num_hidden_layers": _LAYERS}
_GROUPED = _COMMON | {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 96}
_TOKENS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


@dataclass(frozen=True)
class Family:
    """``model`` and ``config`` are classes of transformers; ``kv_heads``, ``neurons`` and ``experts`` what each layer
    must offer.
    """

    name: str
    model: str
    config: str
    sizes: dict[str, Any]
    kv_heads: int = 2
    neurons: int = 96
    experts: int = 0
    styles: tuple[str, ...] = ("fused", "plain")


FAMILIES = [
    Family("qwen2", "Qwen2ForCausalLM", "Qwen2Config", _GROUPED),
    Family("qwen3", "Qwen3ForCausalLM", "Qwen3Config", _GROUPED | {"head_dim": 16}),
    Family("gemma", "GemmaForCausalLM", "GemmaConfig", _GROUPED | {"head_dim": 16}),
    Family("phi3", "Phi3ForCausalLM", "Phi3Config", _GROUPED | {"original_max_position_embeddings": 256}),
    Family(
        "gpt2",
        "GPT2LMHeadModel",
        "GPT2Config",
        {"n_embd": 64, "n_head": 4, "n_layer": _LAYERS, "n_positions": 256, "vocab_size": _VOCABULARY},
        kv_heads=4,
        neurons=256,
        styles=("plain",),
    ),
    Family(
        "mixtral",
        "MixtralForCausalLM",
        "MixtralConfig",
        _GROUPED | {"num_local_experts": 4},
        neurons=0,
        experts=4,
        styles=("plain",),
    ),
    Family(
        "qwen2_moe",
        "Qwen2MoeForCausalLM",
        "Qwen2MoeConfig",
        _GROUPED
        | {
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 48,
            "shared_expert_intermediate_size": 96,
        },
        experts=4,
        styles=("plain",),
    ),
]


def build(family: Family, folder: Path) -> None:
    """A model of random weights, as transformers keeps it, with a tokenizer of whole words."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    torch.manual_seed(0)
    config = getattr(transformers, family.config)(**family.sizes, **_TOKENS)
    model = getattr(transformers, family.model)(config).eval()
    model.save_pretrained(folder)
    words = {f"w{number}": number for number in range(_VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="w0")
    fast.save_pretrained(folder)


def export_plain(source: Path, target: Path) -> Path:
    """By torch's exporter, with a cache of two positions that may have any number."""
    import torch
    import transformers

    how = {"attn_implementation": "eager", "experts_implementation": "batched_mm"}  # the others cannot be traced
    model = transformers.AutoModelForCausalLM.from_pretrained(source, **how).eval()
    config = model.config
    depth = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads

    class WithCache(torch.nn.Module):
        """Ids, mask and a pair of tensors for each layer; logits and the grown pairs."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any, *past: Any) -> tuple[Any, ...]:
            cache = transformers.DynamicCache()
            for layer in range(_LAYERS):
                cache.update(past[2 * layer], past[2 * layer + 1], layer)
            made = self.model(input_ids, attention_mask=attention_mask, past_key_values=cache, use_cache=True)
            layers = made.past_key_values.layers
            return made.logits, *(each for layer in layers for each in (layer.keys, layer.values))

    kinds = [f"{layer}.{each}" for layer in range(_LAYERS) for each in ("key", "value")]
    names = ["input_ids", "attention_mask", *(f"past_key_values.{kind}" for kind in kinds)]
    past = tuple(torch.zeros(2, heads, 5, depth) for _ in kinds)
    target.mkdir(parents=True, exist_ok=True)
    arguments = (torch.ones(2, 3, dtype=torch.int64), torch.ones(2, 8, dtype=torch.int64), *past)
    axes = {name: {0: "batch", 2: "past"} for name in names[2:]}
    axes |= {"input_ids": {0: "batch", 1: "sequence"}, "attention_mask": {0: "batch", 1: "total"}}
    outputs = ["logits", *(f"present.{kind}" for kind in kinds)]
    axes |= {"logits": {0: "batch", 1: "sequence"}} | {name: {0: "batch", 2: "total"} for name in outputs[1:]}
    with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):  # it prints the whole graph where it fails
        torch.onnx.export(
            WithCache(),
            arguments,
            str(target / "model.onnx"),
            input_names=names,
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=18,
            dynamo=False,
        )
    return target / "model.onnx"


def export_fused(source: Path, target: Path, precision: str) -> Path:
    """By onnxruntime-genai's builder."""
    command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-m", str(source), "-o", str(target)]
    command += ["-p", precision, "-e", "cpu", "-c", str(target / "cache"), "--extra_options", "hf_token=false"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError((done.stderr or done.stdout).strip().splitlines()[-1])
    return target / "model.onnx"


def examine(path: Path, family: Family) -> str:
    """What can go of a file, and that one unit of everything may: nothing is returned where all is well.

    Raises
    ------
    GraphpruneError
        The file cannot be read, or a cut is not what it should be.
    """
    import graphprune
    from graphprune import RecoveryOptions, RunOptions, TimingOptions
    from graphprune.analysis.groups import find_groups
    from graphprune.axes.infer import infer
    from graphprune.data.dataset import input_specs
    from graphprune.decoder.interface import decoder_interface
    from graphprune.decoder.steps import prefill
    from graphprune.ir.loading import load

    model = load(path)
    groups = [group for group in find_groups(model, infer(model)) if group.is_prunable]
    found: Counter[tuple[str, int]] = Counter((group.kind, group.size) for group in groups)
    heads = sum(count for (kind, size), count in found.items() if kind.endswith("heads") and size == family.kv_heads)
    others = (("neurons", family.neurons), ("experts", family.experts))
    if heads < _LAYERS or any(size and found[kind, size] != _LAYERS for kind, size in others):
        return f"found only {dict(found)}"
    interface = decoder_interface(model)
    if interface is None:
        return "its cache is not recognised"
    ids = np.random.default_rng(0).integers(3, _VOCABULARY, (4, 8))
    prompts = prefill(interface, {spec.name: spec for spec in input_specs(model)}, ids, sizes={"kv_cache_dim": 16})
    options = RunOptions(
        align=1, batch=4, timing=TimingOptions(measure_latency=False), recovery=RecoveryOptions(repair=())
    )
    passes = {"head-projection": True, "neuron-projection": family.neurons, "expert-use": family.experts}
    for name in (name for name, is_wanted in passes.items() if is_wanted):
        graphprune.prune(path, f"{name}{{floor=0}}", prompts, f"removed={_LAYERS}", options=options)
    return without_each(model, prompts)


def without_each(model: Model, prompts: dict[str, np.ndarray]) -> str:
    """As :func:`examine`, of the attentions, MLPs and layers of a network."""
    from graphprune.analysis.layers import find_layers
    from graphprune.analysis.model_analysis import analyse
    from graphprune.data.dataset import load_data
    from graphprune.ir.export import write
    from graphprune.rewrite import remove_blocks
    from graphprune.rewrite.removal import Removal
    from graphprune.runtime.sessions import RuntimeOptions
    from graphprune.validation.validate import validate

    data, runtime = load_data(prompts, model), RuntimeOptions(threads=1)
    joins = analyse(model, data.first(1), runtime).joins
    blocks, layers = [join.block for join in joins if join.block], find_layers(model, joins)
    with tempfile.TemporaryDirectory() as folder:
        for chosen in (*((block,) for block in blocks), *layers):
            written = Path(folder) / "small.onnx"
            write(remove_blocks(model, chosen), written)
            validate([Removal(model, chosen)], written, data, 4, runtime)
    if len(blocks) == 2 * _LAYERS:
        return ""
    kept = {join.refusal.reason for join in joins if join.refusal and join.stage >= 0}
    return f"{len(blocks)} of {2 * _LAYERS} blocks proved, the others stay: {'; '.join(kept)}"


def results(families: Iterable[Family], wanted: str, folder: Path) -> Iterator[tuple[str, str]]:
    """Family -> what is wrong with it; empty where nothing is."""
    for family in families:
        style = wanted or family.styles[0]
        source, target = folder / family.name / "hf", folder / family.name / style
        try:
            if not source.exists():
                build(family, source)
            path = target / "model.onnx"
            if not path.exists():
                path = export_fused(source, target, "fp32") if style == "fused" else export_plain(source, target)
        except Exception as error:  # noqa: BLE001 - exporters raise whatever they like, and it is none of our doing
            yield family.name, f"not exported: {str(error).strip().splitlines()[0][:160]}"
            continue
        try:
            yield family.name, examine(path, family)
        except GraphpruneError as error:
            yield family.name, str(error)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="FAMILY", help=f"of {', '.join(each.name for each in FAMILIES)}")
    parser.add_argument("--style", choices=("fused", "plain"), default="")
    parser.add_argument("--folder", type=Path, help="where the models are kept; what is there is not made again")
    given = parser.parse_args()
    styled = [each for each in FAMILIES if given.style in ("", *each.styles)]
    chosen = [each for each in styled if not given.names or each.name in given.names]
    wrong = 0
    with tempfile.TemporaryDirectory() as temporary:
        for name, what in results(chosen, given.style, given.folder or Path(temporary)):
            print(
                f"{name:10} {what or 'all found; a unit of each, and each block and layer, cut and proved'}",
                flush=True,
            )
            wrong += bool(what)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
