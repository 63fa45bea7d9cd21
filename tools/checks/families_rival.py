"""The networks of families.py pruned by Torch-Pruning, whose graph is traced from the module: what it can take away.

python tools/checks/families_rival.py torchvision --out rival.jsonl
python tools/checks/families_rival.py --beside families.jsonl --out rival.jsonl     one table of both

Everything is asked to shrink by 75 %, as there; each network has a process and a limit of processor time of its own. A
result counts where the pruned module still runs and gives what the original's output has: as many values per sample.
"""

from __future__ import annotations

import argparse
import json
import resource
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tools.checks.families import build, names_of
from tools.checks.torchvision_beside_cpu import declare

LIMIT_SECONDS = 180  # of the processor
RATIO = 0.75


def one(library: str, name: str) -> dict[str, Any]:
    """Prune one module; ``left`` is the share of its parameters that stays."""
    import torch
    import torch_pruning

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    module, inputs, _ = build(library, name, 0)
    given = tuple(inputs.values())
    with torch.no_grad():
        before = module(*given)
    if not isinstance(before, torch.Tensor):
        return {"problem": "several outputs"}
    whole = sum(parameter.numel() for parameter in module.parameters())
    last = [each for each in module.modules() if isinstance(each, torch.nn.Linear | torch.nn.Conv2d)][-1:]
    pruner = torch_pruning.pruner.MagnitudePruner(
        module,
        given,
        importance=torch_pruning.importance.MagnitudeImportance(p=2),
        pruning_ratio=RATIO,
        ignored_layers=last,
    )
    pruner.step()
    left = sum(parameter.numel() for parameter in module.parameters()) / whole
    with torch.no_grad():
        after = module(*given)
    same = after.shape == before.shape
    return {"left": left, "problem": "" if same else f"gives {tuple(after.shape)}, not {tuple(before.shape)}"}


def rows(library: str, names: list[str], known: set[str]) -> Iterator[dict[str, Any]]:
    for name in names:
        if f"{library} {name}" in known:
            continue
        command = [sys.executable, __file__, library, name, "--one"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {}
        problem = "" if found else (done.stderr.strip().splitlines() or ["no word"])[-1][:120]
        if done.returncode == -signal.SIGXCPU:
            problem = f"longer than {LIMIT_SECONDS} s"
        yield {"library": library, "name": name, "problem": problem} | found


def beside(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> Iterator[str]:
    """Markdown, a network a line: of either exporter groups that can shrink, blocks, cuts that equal the masked
    original and parameters left, then what Torch-Pruning leaves.
    """
    ours_by = " | ".join(f"{exporter}: groups | blocks | validated | left" for exporter in ("TorchScript", "dynamo"))
    yield f"| library | network | {ours_by} | Torch-Pruning |"
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    rival = {f"{row['library']} {row['name']}": row for row in theirs}
    found: dict[str, dict[str, str]] = {}
    for row in ours:
        found.setdefault(f"{row['library']} {row['name']}", {})[row["exporter"]] = _cells(row)
    for key, cells in found.items():
        other = rival.get(key)
        said = "" if other is None else other["problem"] or f"{other['left']:.0%}"
        library, name = key.split(" ", 1)
        both = " | ".join(cells.get(exporter, " | | | ") for exporter in ("torchscript", "dynamo"))
        yield f"| {library} | {name} | {both} | {said} |"


def _cells(row: dict[str, Any]) -> str:
    if row.get("not_exported") or row["problem"]:
        return f"{'not exported' if row.get('not_exported') else row['problem']} | | | "
    checks = f"{row['validated']} of {row['cuts'] + row['removals']}"
    return f"{row['prunable']} of {row['groups']} | {row['blocks']} | {checks} | {row['left']:.0%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", nargs="?", choices=("torchvision", "timm", "transformers"))
    parser.add_argument("names", nargs="*")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--beside", type=Path, help="what families.py wrote")
    words = parser.parse_args()
    _declared = declare() if words.one or words.library == "torchvision" else None  # to the end
    if words.one:
        resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_SECONDS, LIMIT_SECONDS + 5))
        print(json.dumps(one(words.library, words.names[0])))
        return
    written = [json.loads(line) for line in words.out.read_text().splitlines()] if words.out.exists() else []
    if words.beside:
        ours = [json.loads(line) for line in words.beside.read_text().splitlines()]
        print("\n".join(beside(ours, written)))
        return
    known = {f"{row['library']} {row['name']}" for row in written}
    for row in rows(words.library, words.names or names_of(words.library), known):
        with words.out.open("a") as out:
            out.write(json.dumps(row) + "\n")
        print(row["name"], row["problem"] or f"{row['left']:.0%} left")


if __name__ == "__main__":
    main()
