"""Cut networks of public libraries that the tests do not know, by both exporters, and say how much of each can go.

python tools/checks/families.py torchvision --out families.jsonl       every classifier
python tools/checks/families.py timm convmixer_768_32 --out families.jsonl
python tools/checks/families.py torchvision vit_h_14 --pixels 56 --out families.jsonl    the structure is the same
python tools/checks/families.py others --out families.jsonl            small ones of eleven more libraries
python tools/checks/families.py --table families.jsonl                 a network a line
python tools/checks/families.py --summary families.jsonl               a library a line

Each network has a process and a limit of processor time of its own; what --out already holds is not done again. All
groups at once at two ratios, all blocks at once, and each alone where there are few, are compared with their masked
originals.
torchvision, timm and transformers must be installed; the weights are random, no file is downloaded.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import json
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import tomllib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tools.checks.torchvision_beside_cpu import declare

NAMES = Path(__file__).with_name("families.toml")
LIMIT_SECONDS = 420  # of the processor: a busy machine takes no network away
FEW = 12  # groups that are also cut one by one
SMALL = {
    "num_hidden_layers": 2,
    "n_layer": 2,
    "n_layers": 2,
    "num_layers": 2,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "hidden_size": 64,
    "n_embd": 64,
    "dim": 64,
    "d_model": 64,
    "emb_dim": 64,
    "embedding_size": 64,
    "intermediate_size": 96,
    "ffn_dim": 96,
    "encoder_ffn_dim": 96,
    "decoder_ffn_dim": 96,
    "num_attention_heads": 4,
    "n_head": 4,
    "n_heads": 4,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "rotary_dim": 8,
    "vocab_size": 300,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

Built = tuple[Any, dict[str, Any], dict[str, dict[int, str]]]
"""The module, its inputs by name, and their dynamic axes."""


def names_of(library: str) -> list[str]:
    if library == "torchvision":
        from torchvision import models

        return list(models.list_models(module=models))
    if library == "others":
        from tools.checks import library_networks

        return library_networks.names()
    names: list[str] = tomllib.loads(NAMES.read_text())[library]
    return names


def build(library: str, name: str, pixels: int) -> Built:
    """A network with random weights and statistics, and what it takes; ``pixels`` is the edge of its images, 0 for its
    own.
    """
    import torch

    from tests.zoo.parts import randomise

    torch.manual_seed(0)
    if library == "transformers":
        return _transformer(name)
    if library == "others":
        from tools.checks import library_networks

        small, inputs, axes = library_networks.build(name)
        return randomise(small).eval(), inputs, axes
    if library == "torchvision":
        from torchvision import models

        extra: dict[str, Any] = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        if pixels and name.startswith("vit_"):  # its positions are counted
            extra["image_size"] = pixels
        module: Any = models.get_model(name, weights=None, **extra)
        size = 299 if name == "inception_v3" else 224
    else:
        import timm

        module = timm.create_model(name, pretrained=False)
        size = module.default_cfg["input_size"][-1]
    module, size = randomise(module).eval(), pixels or size
    return module, {"x": torch.randn(2, 3, size, size)}, {"x": {0: "batch"}}


def _transformer(name: str) -> Built:
    import torch
    from transformers import AutoConfig, AutoModel

    from tests.zoo.parts import randomise

    config = AutoConfig.for_model(name)
    for key, value in SMALL.items():
        if not isinstance(getattr(config, key, []), list):  # a list has an entry for each stage
            with contextlib.suppress(AttributeError, NotImplementedError):  # worked out from others
                setattr(config, key, value)
    config.use_cache, config._attn_implementation = False, "eager"
    model: Any = randomise(AutoModel.from_config(config)).eval()
    given = str(model.main_input_name)
    shapes = {"pixel_values": (2, 3, getattr(config, "image_size", 224), getattr(config, "image_size", 224))}
    if given in ("input_ids", "decoder_input_ids"):
        tensor, axes = torch.randint(3, 250, (2, 9)), {0: "batch", 1: "sequence"}
    elif given == "input_values":
        tensor, axes = torch.randn(2, 4000), {0: "batch"}
    else:
        tensor, axes = torch.randn(shapes[given]), {0: "batch"}
    inputs = {given: tensor}
    if config.is_encoder_decoder and given == "input_ids":
        inputs["decoder_input_ids"] = torch.randint(3, 250, (2, 5))
    takes_mask = given == "input_ids" and "attention_mask" in inspect.signature(model.forward).parameters

    class First(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
            # a decoder without a mask looks for packed texts, by an operator that TorchScript's exporter has not
            mask = {"attention_mask": torch.ones_like(tensors[0])} if takes_mask else {}
            found = self.model(**dict(zip(inputs, tensors, strict=True)), **mask, return_dict=True)
            hidden: torch.Tensor = found["last_hidden_state"]
            return hidden

    return First(), inputs, {key: axes if key == given else {0: "batch"} for key in inputs}


def export(built: Built, exporter: str, path: Path) -> None:
    import torch

    module, inputs, axes = built
    if exporter == "dynamo":
        shapes: Any = tuple({axis: torch.export.Dim.AUTO for axis in axes[name]} for name in inputs)
        settings: dict[str, Any] = {"dynamo": True, "opset_version": 18, "external_data": False, "verbose": False}
        settings["dynamic_shapes"] = (shapes,) if type(module).__name__ in ("First", "Picked") else shapes
    else:
        settings = {"dynamo": False, "opset_version": 17, "dynamic_axes": axes}
    torch.backends.mha.set_fastpath_enabled(False)  # TorchScript's exporter has no operator for it
    with torch.no_grad():
        torch.onnx.export(module, tuple(inputs.values()), path, input_names=[*inputs], output_names=["y"], **settings)


def one(library: str, name: str, exporter: str, pixels: int) -> dict[str, Any]:
    """Export and cut one network."""
    import torch

    from graphprune.errors import ModelError
    from graphprune.runtime.sessions import RuntimeOptions, open_session, run
    from tests.zoo.survey import survey

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        built = build(library, name, pixels)
        try:
            export(built, exporter, path)
        except Exception as error:  # noqa: BLE001 - whatever an exporter raises, the row is the exporter's
            return {"not_exported": f"{type(error).__name__}: {str(error).strip().splitlines()[0][:120]}"}
        feed = {key: tensor.numpy() for key, tensor in built[1].items()}
        try:
            run(open_session(path, RuntimeOptions(threads=1)), feed, ["y"])
        except ModelError as error:
            return {"not_exported": f"what it writes does not run: {str(error)[:120]}"}
        found = survey(path, feed, few=FEW)
    return vars(found) | {
        "refusals": dict(found.refusals),
        "missing": dict(found.missing),
        "validated": found.validated,
    }


def rows(words: argparse.Namespace, known: set[str]) -> Iterator[dict[str, Any]]:
    """Each network by each exporter, in a process of its own."""
    library, limit_seconds = words.library, words.limit
    for name in words.names or names_of(library):
        for exporter in ("torchscript", "dynamo"):
            if f"{library} {name} {exporter}" in known:
                continue
            command = [sys.executable, __file__, library, name, "--one", exporter]
            command += ["--limit", str(limit_seconds), "--pixels", str(words.pixels)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            found = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {}
            problem = "" if found else (done.stderr.strip().splitlines() or ["no word"])[-1][:200]
            if done.returncode == -signal.SIGXCPU:
                problem = f"took longer than {limit_seconds} s"
            head = {"library": library, "name": name, "exporter": exporter, "pixels": words.pixels}
            yield head | {"problem": problem} | found


def table(lines: list[dict[str, Any]]) -> Iterator[str]:
    """Markdown, a network a line."""
    yield "| library | network | exporter | groups | blocks | validated | params left at 75 % | not understood | s |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in lines:
        head = f"| {row['library']} | {row['name']} | {row['exporter']} |"
        why = row.get("not_exported") or row["problem"]
        if why:
            yield f"{head} {why} | | | | | |"
            continue
        missing = ", ".join(f"{op} {count}" for op, count in row["missing"].items())
        yield (
            f"{head} {row['prunable']} of {row['groups']} | {row['blocks']} | {row['validated']} of "
            f"{row['cuts'] + row['removals']} | {row['left']:.0%} | {missing} | {row['seconds']:.0f} |"
        )


def summary(lines: list[dict[str, Any]]) -> Iterator[str]:
    """Markdown, a library a line; of what was exported."""
    yield "| library | networks | exports | groups | blocks | validated | worst error | parameters left at 75 % |"
    yield "|---|---|---|---|---|---|---|---|"
    libraries: dict[str, list[dict[str, Any]]] = {}
    for row in lines:
        if not row.get("not_exported") and not row["problem"]:
            name = row["name"].partition("/")[0] if row["library"] == "others" else row["library"]
            libraries.setdefault(name, []).append(row)
    for library, rows_ in libraries.items():
        total = {key: sum(row[key] for row in rows_) for key in ("prunable", "groups", "blocks", "cuts", "removals")}
        left = sorted(row["left"] for row in rows_)
        yield (
            f"| {library} | {len({row['name'] for row in rows_})} | {len(rows_)} | {total['prunable']:,} of "
            f"{total['groups']:,} | {total['blocks']} | {sum(row['validated'] for row in rows_)} of "
            f"{total['cuts'] + total['removals']} | {max(row['worst_error'] for row in rows_):.0e} | "
            f"{left[0]:.0%} to {left[-1]:.0%}, median {statistics.median(left):.0%} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", nargs="?", choices=("torchvision", "timm", "transformers", "others"))
    parser.add_argument("names", nargs="*")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--limit", type=int, default=LIMIT_SECONDS, help="seconds of the processor for each network")
    parser.add_argument("--pixels", type=int, default=0, help="edge of the images; as the network says")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--summary", type=Path)
    words = parser.parse_args()
    _declared = declare() if words.one or words.library == "torchvision" else None  # to the end
    if words.one:
        resource.setrlimit(resource.RLIMIT_CPU, (words.limit, words.limit + 5))
        print(json.dumps(one(words.library, words.names[0], words.one, words.pixels)))
        return
    for path, markdown in ((words.table, table), (words.summary, summary)):
        if path:
            print("\n".join(markdown([json.loads(text) for text in path.read_text().splitlines()])))
            return
    done = words.out.read_text().splitlines() if words.out.exists() else []
    known = {f"{row['library']} {row['name']} {row['exporter']}" for row in map(json.loads, done)}
    for row in rows(words, known):
        with words.out.open("a") as out:
            out.write(json.dumps(row) + "\n")
        print(row["name"], row["exporter"], row.get("not_exported") or row["problem"] or row["failures"] or "done")


if __name__ == "__main__":
    main()
