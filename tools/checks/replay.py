"""Does a checkout do what another one did? Runs a list of commands and API calls on both,
and compares all that came of it.

    python tools/checks/replay.py record CHECKOUT FOLDER     # runs the cases; FOLDER gets a folder of texts for each
    python tools/checks/replay.py compare FOLDER FOLDER      # same or differs, with the differences;
    exit code 1 if there are any python tools/checks/replay.py CHECKOUT CHECKOUT          # both,
    on the models of the first python tools/checks/replay.py list                       # the commands

For each case: command lines, exit codes, stdout, stderr, plans, results as JSON, reports and pictures,
and of each model file its hash, nodes and tensors. Durations, dates, versions, paths and facts of the machine are left
out; timings stay, for the clock is moved only by the runs of sessions (``replay_clock``). ``--only GLOB`` picks cases.
"""

from __future__ import annotations

import argparse
import difflib
import fnmatch
import os
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from tools.checks.replay_cases import CASES
from tools.checks.replay_inputs import write_inputs
from tools.checks.replay_texts import Cleaner, text_of

_HERE = Path(__file__).parent.resolve()
_LOG, _CACHE = "log.txt", "user-cache"
# times widths
_WARM_UP = "inputs/tiny.onnx --pass filter-magnitude --target removed=1 --threads 1 --no-bench -o warm.onnx"
_LONGEST_STEP_SECONDS = 900
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def environment(checkout: Path, cache: Path) -> dict[str, str]:
    """What a step runs in: the checkout's package, the clock, one thread, and a cache that is empty at first."""
    path = os.pathsep.join([str(_HERE / "replay_clock"), str(checkout)])
    fixed = {
        "PYTHONPATH": path,
        "PYTHONHASHSEED": "0",
        "GRAPHPRUNE_CACHE": str(cache),
        "NO_COLOR": "1",
        "COLUMNS": "120",
    }
    return os.environ | fixed | {"TERM": "dumb"} | dict.fromkeys(_THREADS, "1")


def record(checkout: Path, out: Path, names: Sequence[str], models: Path, jobs: int) -> None:
    """Run the cases and write a folder of texts for each, in place of what was there."""
    checkout = checkout.resolve()
    with tempfile.TemporaryDirectory(prefix="replay-") as temporary:
        scratch = Path(temporary).resolve()
        told = [sys.executable, "-c", "import graphprune; print(graphprune.__file__)"]
        found = subprocess.run(told, env=environment(checkout, scratch), capture_output=True, text=True, cwd=scratch)
        if not found.stdout.startswith(str(checkout)):
            sys.exit(f"graphprune does not come from {checkout} but from {found.stdout or found.stderr}")
        inputs = scratch / "inputs"
        inputs.mkdir()
        write_inputs(models, inputs)
        warm = [sys.executable, "-m", "graphprune", *shlex.split(_WARM_UP)]
        subprocess.run(warm, env=environment(checkout, inputs / _CACHE), capture_output=True, cwd=scratch, check=True)

        def one(name: str) -> None:
            began = time.perf_counter()
            play(name, checkout, inputs, scratch / name, out / name)
            print(f"{time.perf_counter() - began:6.1f} s  {name}", flush=True)

        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(one, names))
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(f"{used.ru_utime + used.ru_stime:6.1f} s of processor time", flush=True)


def play(name: str, checkout: Path, inputs: Path, work: Path, out: Path) -> None:
    """Run the steps of a case in the fresh folder ``work``; texts of what they said and wrote go to ``out``."""
    shutil.copytree(inputs, work)
    before = {path.relative_to(work): path.read_bytes() for path in work.rglob("*") if path.is_file()}
    cleaner = Cleaner({str(work): "<work>", str(checkout): "<checkout>", sys.prefix: "<python>"})
    log = []
    for step in CASES[name]:
        head, *rest = words = shlex.split(step)
        program = [str(_HERE / "replay_api.py"), *rest] if head == "api" else ["-m", "graphprune", *words]
        done = subprocess.run(
            [sys.executable, *program],
            cwd=work,
            env=environment(checkout, work / _CACHE),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=_LONGEST_STEP_SECONDS,
        )
        if head == "api" and done.returncode:  # its errors are caught and printed: this is a mistake, here or there
            print(f"{name}: {step} failed: {done.stderr.strip().splitlines()[-1]}", flush=True)
        said = f"--- stdout\n{cleaner.output(done.stdout)}--- stderr\n{cleaner.output(done.stderr)}"
        log.append(f"$ {step}\nexit code {done.returncode}\n{said}")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / _LOG).write_text("\n".join(log))
    for path, text in sorted(_written(work, before, cleaner).items()):
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_text(text)


def _written(work: Path, before: dict[Path, bytes], cleaner: Cleaner) -> dict[str, str]:
    """Texts of the files that are new or changed, and of those that are gone;
    measured times bear a number for a name.
    """
    texts: dict[str, str] = {}
    caches: dict[Path, list[str]] = {}
    now = {path.relative_to(work): path for path in work.rglob("*") if path.is_file()}
    for relative, path in now.items():
        if before.get(relative) == path.read_bytes():
            continue
        if relative.parent.name == "latency":  # the name is a hash of facts of the machine
            caches.setdefault(relative.parent, []).append(text_of(path, cleaner))
        else:
            texts[f"{relative}.txt"] = text_of(path, cleaner)
    for folder, found in caches.items():
        texts |= {f"{folder}/{i}.txt": text for i, text in enumerate(sorted(found), 1)}
    return texts | {f"{relative}.txt": "gone\n" for relative in before.keys() - now.keys()}


def compare(first: Path, second: Path, only: str = "*") -> int:
    """Print a table of the cases and the differences of those that differ; the number of those is returned."""
    kept = [folder.name for root in (first, second) for folder in root.iterdir() if folder.is_dir()]
    names = [name for name in sorted(set(kept)) if fnmatch.fnmatch(name, only)]
    differences = {name: _difference(first / name, second / name) for name in names}
    for name, lines in differences.items():
        changed = sum(line[:1] in "+-" and line[:3] not in ("+++", "---") for line in lines)
        print(f"{name:<28}{f'DIFFERS, {changed} lines' if lines else 'same'}")
    red = [name for name, lines in differences.items() if lines]
    for name in red:
        print("\n".join(["", *differences[name]]))
    print(f"\n{len(names) - len(red)} of {len(names)} cases are the same")
    return len(red) if names else 1


def _difference(first: Path, second: Path) -> list[str]:
    """Unified diff of two folders of texts."""
    lines: list[str] = []
    for path in sorted(
        {path.relative_to(root) for root in (first, second) for path in root.rglob("*") if path.is_file()}
    ):
        a, b = ((root / path).read_text().splitlines() if (root / path).exists() else [] for root in (first, second))
        names = [f"{root}/{path}" if (root / path).exists() else "nothing" for root in (first, second)]
        lines += difflib.unified_diff(a, b, names[0], names[1], lineterm="", n=2)
        if names.count("nothing") == 1 and not a and not b:
            lines.append(f"{path}: empty in one, missing in the other")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="+", help="record CHECKOUT FOLDER, compare FOLDER FOLDER, or CHECKOUT CHECKOUT")
    parser.add_argument("--only", default="*", metavar="GLOB", help="the cases to run or to compare")
    parser.add_argument(
        "--models", type=Path, help="the shipped network and its data; default: models/ of the checkout"
    )
    parser.add_argument("--jobs", type=int, default=2, help="cases at a time")
    options = parser.parse_args()
    names = [name for name in CASES if fnmatch.fnmatch(name, options.only)]
    match options.words:
        case ["list"]:
            print("\n".join(f"{name}: {step}" for name in names for step in CASES[name]))
            return 0
        case ["record", checkout, folder]:
            record(Path(checkout), Path(folder), names, options.models or Path(checkout) / "models", options.jobs)
            return 0
        case ["compare", first, second]:
            return int(compare(Path(first), Path(second), options.only) > 0)
        case [first, second]:
            with tempfile.TemporaryDirectory(prefix="replay-") as folder:
                records = Path(folder) / "first", Path(folder) / "second"
                for checkout, out in zip((first, second), records, strict=True):
                    record(Path(checkout), out, names, options.models or Path(first) / "models", options.jobs)
                return int(compare(*records, options.only) > 0)
    return parser.error("see --help")


if __name__ == "__main__":
    raise SystemExit(main())
