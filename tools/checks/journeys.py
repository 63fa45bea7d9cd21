"""Ten ways in which people come to graphprune, walked from end to end: the command, and what came of it.

python tools/checks/journeys.py [--only NAME] [--keep FOLDER] [--write]

Each is a command as a user types it, in a folder of its own, in a terminal of 80 columns, on a network that is made
here: real architectures with random weights, the ViT trained for some seconds, the shipped network. A journey fails
when its command does, when what it wrote does not run, or when a line of what it printed is wider than the terminal
(names of files and commands to copy may be). ``--write`` puts the rows into docs/journeys.md. Needs torch, timm,
transformers and Pillow; the wheel is built and installed by pip into a fresh environment.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tools.checks.page_table import renew

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "journeys.md"
COLUMNS = 80
_MARK = "<!-- table: tools/checks/journeys.py -->"


@dataclass(frozen=True)
class Journey:
    """``make``, a function of :mod:`journey_networks`, lays down what the user has; ``words`` are what follows
    ``graphprune``, or ``python`` is a script.

    ``facts`` tells of the folder afterwards what came of it; what it raises is a failure.
    """

    name: str
    title: str
    make: str
    words: str
    facts: Callable[[Path], Iterator[str]]
    python: str = ""
    setup: tuple[tuple[str, ...], ...] = ()
    program: str = "graphprune"
    extra: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """``seconds`` of the command, its exit code, the widest line that it printed, and the facts."""

    seconds: float
    code: int
    widest: int
    facts: str

    @property
    def is_good(self) -> bool:
        return self.code == 0 and self.widest <= COLUMNS


def networks() -> Any:
    """What makes the networks; PyTorch is imported with it."""
    import journey_networks

    return journey_networks


def _result(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "r.json").read_text())
    return content


def cut(folder: Path) -> Iterator[str]:
    """What every pruned network is told by; its file must run."""
    found = _result(folder)
    before, after = found["before"], found["after"]
    yield f"MACs {100 * (after['macs'] / before['macs'] - 1):+.1f} %"
    yield f"file {100 * (after['bytes'] / before['bytes'] - 1):+.1f} %"
    judged = found["evaluation"]
    if judged is not None:
        yield _quality(judged)
    yield f"proved on {found['validation']['samples']} samples"
    networks().runs(Path(folder / found["output"]))


def _quality(judged: dict[str, Any]) -> str:
    kind, before, after = judged["kind"], judged["before"], judged["after"]
    if kind == "top1":
        return f"top-1 {100 * before:.2f} to {100 * after:.2f} %"
    if kind == "metric":
        return f"{judged['metric']} {before:.3f} to {after:.3f}"
    name = {"agreement": "agreement", "error": "largest error of an output"}[kind]
    return f"{name} {100 * after:.1f} %"


def within_budget(folder: Path) -> Iterator[str]:
    """The largest cut within the budget."""
    yield from cut(folder)
    lost = _result(folder)["plan"]["budget"]["reached"]
    yield f"loses {100 * lost['value']:.2f} points, at most {100 * lost['high']:.2f}"


def half_precision(folder: Path) -> Iterator[str]:
    """The type of the file stays."""
    yield from cut(folder)
    yield f"weights stay {networks().weight_type(folder / 'small.onnx')}"


def with_int8(folder: Path) -> Iterator[str]:
    """The second file, and what that costs."""
    yield from cut(folder)
    found = _result(folder)
    int8 = found["quantised"]
    yield f"int8: {int8['bytes'] / found['before']['bytes']:.2f} of the file, {_quality(int8['evaluation'])}"


def keeps(folder: Path) -> Iterator[str]:
    """Nothing of what was to be kept goes."""
    yield from cut(folder)
    gone = _result(folder)["units_removed"]
    assert gone and not [name for name in gone if name.startswith("stages.2.")], gone
    yield f"{sum(gone.values())} filters of {len(gone)} groups went, none of stages.2"


def front(folder: Path) -> Iterator[str]:
    """Five files and which of them no other beats."""
    found = json.loads((folder / "r.json").read_text())["candidates"]
    for each in found:
        networks().runs(folder / each["output"])
    yield f"{len(found)} files, {sum(each['is_front'] for each in found)} on the front"
    yield "lost " + ", ".join(f"{100 * each['lost']:.1f}" for each in found) + " points"
    assert (folder / "report.html").stat().st_size > 10_000
    yield "a page with the front drawn"


def said(folder: Path) -> Iterator[str]:
    """What a script printed."""
    yield (folder / "out.txt").read_text().strip().splitlines()[-1]


_TIMM = """\
import timm, torch, graphprune

torch.manual_seed(0)
module = timm.create_model("resnet18", num_classes=10).eval()
images = torch.randn(32, 3, 64, 64)
result = graphprune.prune(module, "filter-magnitude", {"x": images.numpy()}, "flops=0.7", output="small.onnx")
smaller = result.module()
print(f"{result}; module of {sum(p.numel() for p in smaller.parameters()):,} parameters")
"""
_SHIPPED = "fashion_resnet32.onnx --data fashion_calibration.npz --eval fashion_eval.npz --num-samples 128"
_OUT = "--no-bench -o small.onnx --json r.json"

JOURNEYS = (
    Journey(
        "detector",
        "a YOLO-like detector",
        "detector",
        f"yolo.onnx --data calib.npz --eval test.npz --pass filter-obs --target flops=0.7 {_OUT}",
        cut,
    ),
    Journey(
        "segmentation",
        "segmentation, judged by IoU",
        "segmentation",
        "unet.onnx --data calib.npz --eval test.npz --metric iou.py:iou --pass filter-obs --target flops=0.8 " + _OUT,
        cut,
    ),
    Journey(
        "bert",
        "a BERT classifier",
        "bert",
        "bert.onnx --data calib.npz --eval test.npz --pass head-projection --pass neuron-projection"
        f" --target flops=0.8 {_OUT}",
        cut,
    ),
    Journey(
        "vit",
        "a ViT, a folder of JPEG files, 1 % at most lost",
        "vit",
        "vit.onnx --data photos/ --eval validation/ --preprocess imagenet --image 32 --pass neuron-projection"
        f" --max-drop 1% {_OUT}",
        within_budget,
    ),
    Journey(
        "fp16",
        "a file in float16",
        "half",
        f"half.onnx --data calib.npz --eval test.npz --pass layer-cka --target removed=3 {_OUT}",
        half_precision,
    ),
    Journey("timm", "a timm module, from Python", "nothing", "", said, python=_TIMM),
    Journey(
        "int8",
        "int8 at the end",
        "shipped",
        f"{_SHIPPED} --pass layer-cka --target removed=3 --quantise int8 {_OUT}",
        with_int8,
    ),
    Journey(
        "keep",
        "a list of what must stay",
        "shipped",
        f"{_SHIPPED} --pass filter-magnitude --target flops=0.8 --keep 'stages.2.*' {_OUT}",
        keeps,
    ),
    Journey(
        "pareto",
        "five candidates and their front",
        "shipped",
        f"{_SHIPPED} --pass filter-magnitude --candidates 5 --target flops=0.5 --no-bench --report report.html"
        " -o small.onnx --json r.json",
        front,
    ),
    Journey(
        "wheel",
        "a wheel in a fresh environment, away from the checkout",
        "shipped",
        f"{_SHIPPED} --pass layer-cka --target removed=3 {_OUT}",
        cut,
        setup=(
            (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", "dist", str(ROOT)),
            (sys.executable, "-m", "venv", "fresh"),
            ("sh", "-c", 'fresh/bin/pip install --quiet "$(echo dist/*.whl)[cpu]"'),
        ),
        program="fresh/bin/graphprune",
        extra={"PYTHONPATH": ""},
    ),
)


def walk(journey: Journey, folder: Path) -> Outcome:
    """Make what is needed, run the command, tell what came of it."""
    folder.mkdir(parents=True, exist_ok=True)
    getattr(networks(), journey.make)(folder)
    environment = os.environ | {"COLUMNS": str(COLUMNS), "OMP_NUM_THREADS": "1"} | journey.extra
    for command in journey.setup:
        subprocess.run(command, cwd=folder, env=environment, check=True)
    words = [journey.program, *shlex.split(journey.words)]
    if journey.python:
        (folder / "script.py").write_text(journey.python)
        words = [sys.executable, "script.py"]
    start = time.monotonic()
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    seconds = time.monotonic() - start
    (folder / "out.txt").write_text(done.stdout)
    (folder / "err.txt").write_text(done.stderr)
    lines = [] if journey.python else (done.stdout + done.stderr).splitlines()
    widest = max((len(line) for line in lines if not line.startswith(("wrote ", "again: "))), default=0)
    if done.returncode:
        return Outcome(seconds, done.returncode, widest, done.stderr.strip().splitlines()[-1])
    return Outcome(seconds, 0, widest, "; ".join(journey.facts(folder)))


def row(journey: Journey, outcome: Outcome) -> str:
    """A line of the table."""
    command = "the five lines below" if journey.python else f"`graphprune {journey.words}`"
    verdict = "" if outcome.is_good else f"**exit {outcome.code}, {outcome.widest} columns**: "
    return f"| {journey.title} | {command} | {verdict}{outcome.facts} | {outcome.seconds:.0f}&nbsp;s |"


def main() -> int:
    """Walk them all; 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=[journey.name for journey in JOURNEYS], action="append")
    parser.add_argument("--keep", type=Path, help="a folder for what is made, which stays")
    parser.add_argument("--write", action="store_true", help="put the table into docs/journeys.md")
    given = parser.parse_args()
    folder = given.keep or Path(tempfile.mkdtemp(prefix="journeys-"))
    rows: dict[str, str] = {}
    is_good = True
    for journey in JOURNEYS:
        if given.only and journey.name not in given.only:
            continue
        outcome = walk(journey, folder / journey.name)
        is_good = is_good and outcome.is_good
        rows[journey.name] = row(journey, outcome)
        print(rows[journey.name], flush=True)
    if given.write:
        machine = f"\nPython {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}."
        titles = {journey.name: journey.title for journey in JOURNEYS}
        renew(PAGE, _MARK, ["| what | command | outcome | took |", "|---|---|---|---|"], titles, rows, machine)
    if given.keep is None:
        shutil.rmtree(folder)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
