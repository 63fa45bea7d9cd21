"""The ten papers' claims tried here: experiments by name, and ``docs/evidence.md`` from their rows.

    python tools/figures/evidence.py tickets joint --work build/evidence --size small
    python tools/figures/evidence.py --work build/evidence --size paper        # all of them, as the papers: on a GPU
    python tools/figures/evidence.py --work tools/figures/rows/evidence --markdown docs/evidence.md

Each task is a process of its own; its rows are added to ``NAME.jsonl`` in the work folder, and what is there is not
done again. ``small`` is for two shared cores, an hour altogether; ``paper`` has the papers' images and epochs. The rows
that the page rests on are kept in ``tools/figures/rows/evidence``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from evidence_rows import rows_of
from evidence_size import SIZES, Row, Task

EXPERIMENTS = ("tickets", "joint", "robustness", "layer_cut", "growth", "sensors", "streams", "amp")


def experiment(name: str) -> Any:
    """The module with ``tasks`` and ``rows`` of this experiment."""
    return import_module(f"evidence_{name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiments", nargs="*", metavar="NAME", help=f"of {', '.join(EXPERIMENTS)}; default: all")
    parser.add_argument("--work", type=Path, default=Path("build/evidence"))
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--seeds", type=int, nargs="+", help="of all experiments that have them; default: all")
    parser.add_argument("--minutes", type=float, help="for one task; default: 60, at paper size a week")
    parser.add_argument("--dry-run", action="store_true", help="tell the tasks that are left, and do nothing")
    parser.add_argument("--markdown", type=Path, help="write the page from the rows there are, and do nothing else")
    parser.add_argument("--task", help="do this one, given as JSON, and print its rows")
    words = parser.parse_args()
    unknown = set(words.experiments) - set(EXPERIMENTS)
    if unknown:
        parser.error(f"there is no experiment {', '.join(sorted(unknown))}; they are {', '.join(EXPERIMENTS)}")
    words.work.mkdir(parents=True, exist_ok=True)
    size = SIZES[words.size]
    words.minutes = words.minutes or size.minutes
    if words.task:
        for row in experiment(words.experiments[0]).rows(json.loads(words.task), size, words.work):
            print(json.dumps(row))
        return
    if words.markdown:
        from evidence_page import page

        words.markdown.write_text(page(words.work))
        return
    for name in words.experiments or EXPERIMENTS:
        for task in experiment(name).tasks(size):
            about = {"size": size.name, **task}
            if words.seeds and task.get("seed", words.seeds[0]) not in words.seeds:
                continue
            if any(about.items() <= row.items() for row in rows_of(words.work, name)):
                continue
            if words.dry_run:
                print(name, json.dumps(about))
                continue
            found = [about | row for row in _in_a_process(name, task, words)]
            with (words.work / f"{name}.jsonl").open("a") as out:
                out.writelines(json.dumps(row) + "\n" for row in found)
            print(*map(json.dumps, found), sep="\n", flush=True)


def _in_a_process(name: str, task: Task, words: argparse.Namespace) -> list[Row]:
    """The rows of the task, or one that says why there are none."""
    command = [sys.executable, __file__, name, "--work", str(words.work), "--size", words.size]
    try:
        told = subprocess.run(
            [*command, "--task", json.dumps(task)],
            stdout=subprocess.PIPE,
            text=True,
            timeout=60 * words.minutes,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [{"unfinished": f"not finished in {words.minutes:g} minutes"}]
    if told.returncode:
        return [{"unfinished": f"exit code {told.returncode}"}]
    return [json.loads(line) for line in told.stdout.splitlines() if line.startswith("{")]


if __name__ == "__main__":
    main()
