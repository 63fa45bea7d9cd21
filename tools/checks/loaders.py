"""Pruned folders in the tools that made them: each must load one and generate what the masked original does.

A small Llama of random weights is laid down by onnxruntime-genai's builder (fp32 and int4) and by optimum, cut by
layers, KV groups and neurons, and generates 64 tokens, the likeliest each time, after the same prompt: once as the
masked original in ONNX Runtime, once in each tool. Tools that are not here are passed over, with the reason.
optimum-onnx asks for an older transformers than the rest: name the Python that has both. For transformers.js name the
folder in which `npm install --ignore-scripts @huggingface/transformers` was run.

    python tools/checks/loaders.py [--optimum PYTHON] [--node FOLDER] [--folder KEPT]
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import decoders
import numpy as np

import graphprune
from graphprune import RecoveryOptions, RunOptions, TimingOptions
from graphprune.analysis.model_analysis import analyse
from graphprune.data.dataset import input_specs
from graphprune.decoder.cache_sizes import cache_sizes
from graphprune.decoder.interface import decoder_interface
from graphprune.decoder.steps import prefill
from graphprune.errors import GraphpruneError
from graphprune.generation.genai import open_genai
from graphprune.generation.loop import open_decoder
from graphprune.generation.source import decoder_source
from graphprune.ir.loading import load
from graphprune.model_folder.layout import find
from graphprune.rewrite.apply import execute
from graphprune.rewrite.removal import Removal
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.validation.masked_original import masked_original

_NEW = 64
_HEADS, _KV_HEADS, _LAYERS = 6, 3, 9
_LLAMA = decoders.Family(
    "llama",
    "LlamaForCausalLM",
    "LlamaConfig",
    {
        "hidden_size": 96,
        "vocab_size": 200,
        "max_position_embeddings": 256,
        "num_hidden_layers": _LAYERS,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": _KV_HEADS,
        "intermediate_size": 160,
    },
)
_MARKERS = 3  # padding, beginning and end: none of these is ever the likeliest, or a tool may stop there
_OPTIONS = RuntimeOptions(threads=1)
_LAYER_CUTS = {f"{count} layers": ("layer-angular{unit=layer}", f"removed={count}") for count in (2, 3)}
_UNIT_CUTS = {
    "KV groups": ("head-projection{scope=group,floor=0}", "ratio=0.34"),
    "neurons": ("neuron-projection", "ratio=0.25"),
}
_OPTIMUM = """
import json, sys
from optimum.onnxruntime import ORTModelForCausalLM
import torch
model = ORTModelForCausalLM.from_pretrained(sys.argv[1], use_io_binding=False)
ids = torch.tensor([json.loads(sys.argv[2])])
made = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=int(sys.argv[3]), do_sample=False)
print(json.dumps(made[0, ids.shape[1]:].tolist()))
"""
_NODE = """
import { AutoModelForCausalLM, Tensor, env } from '@huggingface/transformers';
import path from 'node:path';
const [folder, prompt, count] = process.argv.slice(2);
env.allowRemoteModels = false;
env.localModelPath = path.dirname(folder) + '/';
const model = await AutoModelForCausalLM.from_pretrained(path.basename(folder), { dtype: 'fp32', device: 'cpu' });
const ids = JSON.parse(prompt).map(BigInt);
const inputs = new Tensor('int64', BigInt64Array.from(ids), [1, ids.length]);
const attention_mask = new Tensor('int64', new BigInt64Array(ids.length).fill(1n), [1, ids.length]);
const made = await model.generate({ inputs, attention_mask, max_new_tokens: Number(count), do_sample: false });
console.log(JSON.stringify(Array.from(made.data).slice(ids.length).map(Number)));
"""


class Absent(Exception):
    """A tool is not here, or cannot make its folder; the text says why."""


@dataclass(frozen=True)
class Loader:
    """A tool: ``lay_down`` makes its folder of a checkpoint, ``generate`` gives the ids after a prompt."""

    name: str
    lay_down: Callable[[Path, Path], None]
    generate: Callable[[Path, list[int]], list[int]]
    cuts: dict[str, tuple[str, str]]


def build(folder: Path) -> None:
    """The Llama, as transformers keeps it; its markers have no weight in the last layer."""
    import torch
    import transformers

    decoders.build(_LLAMA, folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.lm_head.weight[:_MARKERS] = 0
    model.save_pretrained(folder)


def loaders(optimum: Path | None, node: Path | None) -> list[Loader]:
    """All of them; those that are not here fail when they are asked."""

    def by_optimum(source: Path, target: Path) -> None:
        if optimum is None:
            raise Absent("no Python with optimum-onnx was named")
        command = [str(optimum.with_name("optimum-cli")), "export", "onnx", "--task", "text-generation-with-past"]
        _run([*command, "--model", str(source), str(target)])

    def for_node(source: Path, target: Path) -> None:
        by_optimum(source, target)
        (target / "onnx").mkdir()
        for file in target.glob("model.onnx*"):
            file.rename(target / "onnx" / file.name)

    def in_node(folder: Path, prompt: list[int]) -> list[int]:
        if node is None or shutil.which("node") is None:
            raise Absent("no folder with transformers.js was named, or there is no node")
        script = node / "generate.mjs"
        script.write_text(_NODE)
        return _ids(_run(["node", str(script), str(folder), json.dumps(prompt), str(_NEW)]))

    def in_optimum(folder: Path, prompt: list[int]) -> list[int]:
        return _ids(_run([str(optimum), "-c", _OPTIMUM, str(folder), json.dumps(prompt), str(_NEW)]))

    return [
        Loader(
            "onnxruntime-genai", lambda one, two: _by_builder(one, two, "fp32"), _in_genai, _LAYER_CUTS | _UNIT_CUTS
        ),
        Loader("onnxruntime-genai, int4", lambda one, two: _by_builder(one, two, "int4"), _in_genai, _LAYER_CUTS),
        Loader("optimum", by_optimum, in_optimum, _LAYER_CUTS | _UNIT_CUTS),
        Loader("transformers.js", for_node, in_node, _LAYER_CUTS | _UNIT_CUTS),
    ]


def _by_builder(source: Path, target: Path, precision: str) -> None:
    try:
        decoders.export_fused(source, target, precision)
    except RuntimeError as error:
        raise Absent(str(error)) from None


def _in_genai(folder: Path, prompt: list[int]) -> list[int]:
    decoder = open_genai(decoder_source(folder), _OPTIONS)
    return [int(token) for token in decoder.generate(np.array([prompt]), _NEW).tokens[0]]


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Absent((done.stderr or done.stdout).strip().splitlines()[-1][:200])
    return done.stdout


def _ids(text: str) -> list[int]:
    return [int(token) for token in json.loads(text.strip().splitlines()[-1])]


def cut(folder: Path, spec: str, target: str, output: Path) -> list[list[int]]:
    """Prune ``folder`` into ``output``; the prompt, and what the masked original says after it."""
    model = load(find(folder).model_file)
    interface = decoder_interface(model)
    assert interface is not None  # the exporters' files are decoders
    ids = np.random.default_rng(0).integers(_MARKERS, 200, (4, 16))
    options = RunOptions(
        align=1,
        batch=4,
        timing=TimingOptions(measure_latency=False),
        recovery=RecoveryOptions(repair=()),
        runtime=_OPTIONS,
    )
    plan = graphprune.prune(folder, spec, {"input_ids": ids}, target, output, options=options).plan
    specs = {each.name: each for each in input_specs(model)}
    feeds = prefill(interface, specs, ids[:1], sizes=cache_sizes(model))
    steps: list[Removal] = []
    all_at_once = replace(plan.decisions[0], blocks=tuple(plan.blocks), units=tuple(plan.units))
    execute(analyse(model, feeds, _OPTIONS), all_at_once, steps, feeds, _OPTIONS)
    masked = open_decoder(masked_original(steps[0]), _OPTIONS, model.folder, cache_sizes(model))
    return [ids[0].tolist(), masked.generate(ids[:1], _NEW).tokens[0].tolist()]


def results(chosen: list[Loader], folder: Path) -> Iterator[tuple[str, str, str]]:
    """Tool and cut -> what came of it; ``=`` where all tokens are the same."""
    source = folder / "hf"
    if not source.exists():
        build(source)
    for loader in chosen:
        whole = folder / loader.name.replace(", ", "-")
        try:
            if not whole.exists():
                loader.lay_down(source, whole)
            for name, (spec, target) in loader.cuts.items():
                output = whole.with_name(f"{whole.name}-{name.replace(' ', '-')}")
                shutil.rmtree(output, ignore_errors=True)
                prompt, expected = cut(whole, spec, target, output)
                found = loader.generate(output, prompt)
                same = sum(one == other for one, other in zip(found, expected, strict=True))
                yield loader.name, name, "=" if same == _NEW else f"{same} of {_NEW} tokens are the same"
        except Absent as error:
            yield loader.name, "", f"passed over: {error}"
        except GraphpruneError as error:
            yield loader.name, "", str(error)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimum", type=Path, metavar="PYTHON", help="one that has optimum-onnx")
    parser.add_argument("--node", type=Path, metavar="FOLDER", help="where transformers.js is installed")
    parser.add_argument("--tool", action="append", default=[], help="only this one; repeatable")
    parser.add_argument("--folder", type=Path, help="where the folders are kept; what is there is not made again")
    given = parser.parse_args()
    chosen = [each for each in loaders(given.optimum, given.node) if not given.tool or each.name in given.tool]
    wrong = 0
    with tempfile.TemporaryDirectory() as temporary:
        for tool, name, what in results(chosen, given.folder or Path(temporary)):
            print(f"{tool:24} {name:10} {what if what != '=' else f'the same {_NEW} tokens'}", flush=True)
            wrong += what != "=" and not what.startswith("passed over")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
