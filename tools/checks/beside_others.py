"""Three jobs as users of four tools write them: lines counted, scripts run, what came out measured.

python tools/checks/beside_others.py [--only JOB] [--write]

Runs ``docs/beside/JOB_TOOL.py``, each in a folder of its own, counts its lines, and tells what is left of the MACs (by
graphprune's count of both files, for all tools) and, where that was the job, of the time. How good the networks still
are is not compared: their weights are random. ModelOpt's script follows its documentation and is not run. ``--write``
puts the table into docs/howto/beside_others.md. Needs torch, timm, torch_pruning and onnxsim.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import graphprune
from graphprune.errors import GraphpruneError

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tools.checks.page_table import renew

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "docs" / "beside"
PAGE = ROOT / "docs" / "howto" / "beside_others.md"
_MARK = "<!-- table: tools/checks/beside_others.py -->"
JOBS = {
    "cnn": "ResNet-18 without 30 % of its MACs, as ONNX",
    "vit": "a ViT without 30 % of heads and MLPs, as ONNX",
    "latency": "ResNet-18 in 80 % of the time on ONNX Runtime",
}
TOOLS = {"graphprune": "graphprune", "torch_pruning": "Torch-Pruning", "modelopt": "ModelOpt", "onnxsim": "onnxsim"}
NOT_RUN = ("modelopt",)


def lines(path: Path) -> int:
    """What a user writes: lines with something on them."""
    return sum(bool(line.strip()) for line in path.read_text().splitlines())


def macs(path: Path) -> int:
    """Of one sample, counted in the same way whoever wrote the file."""
    return graphprune.inspect(path).cost.macs


def cell(job: str, tool: str) -> str:
    """Lines, and what came of them."""
    script = SCRIPTS / f"{job}_{tool}.py"
    if not script.exists():
        return "no way documented"
    said = f"[{lines(script)} lines](#{job}-{tool.replace('_', '-')})"
    if tool in NOT_RUN:
        return f"{said}, not run"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        where = os.environ | {"PYTHONPATH": f"{SCRIPTS}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
        start = time.monotonic()
        done = subprocess.run([sys.executable, script], cwd=folder, env=where, capture_output=True, text=True)
        seconds = time.monotonic() - start
        if done.returncode:
            return f"{said}: {(done.stderr.strip().splitlines() or ['?'])[-1][:120]}"
        code = f"import users; users.exported(users.{'vit' if job == 'vit' else 'cnn'}(), 'whole.onnx')"
        subprocess.run([sys.executable, "-c", code], cwd=folder, env=where, capture_output=True, check=True)
        try:
            share = macs(folder / "small.onnx") / macs(folder / "whole.onnx")
        except GraphpruneError as error:
            return f"{said}: {error.message.partition(':')[0]} that it wrote"
        time_left = "" if job != "latency" else f", {_time_left(folder):.2f} of the time"
        return f"{said}: {100 * (share - 1):+.1f} % MACs{time_left}, {seconds:.0f} s"


def _time_left(folder: Path) -> float:
    """Median time of the small file over that of the whole one, in turns."""
    (found,) = graphprune.bench(folder / "whole.onnx", folder / "small.onnx")
    return found.comparison.ratio


def row(job: str) -> str:
    """A job, by every tool."""
    return f"| {JOBS[job]} | {' | '.join(cell(job, tool) for tool in TOOLS)} |"


def main() -> int:
    """Run all, or one; the page where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=list(JOBS), action="append")
    parser.add_argument("--write", action="store_true", help="put the table into docs/howto/beside_others.md")
    given = parser.parse_args()
    rows = {}
    for job in given.only or JOBS:
        rows[job] = row(job)
        print(rows[job], flush=True)
    if given.write:
        head = [f"| | {' | '.join(TOOLS.values())} |", f"|---{'|---' * len(TOOLS)}|"]
        renew(PAGE, _MARK, head, JOBS, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
