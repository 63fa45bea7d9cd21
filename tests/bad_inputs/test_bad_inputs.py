"""Every bad input ends in its documented exit code, one sentence on stderr, and a folder as it was before."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

import graphprune
from graphprune.cli.main import _run
from graphprune.pipeline.prune import prune
from tests.bad_inputs import files, options, outputs, plans, samples
from tests.bad_inputs.case import Case, problems, snapshot
from tests.bad_inputs.models import arrays, external, residual, residual_bytes, text
from tests.bad_inputs.models import samples as inputs

TABLES = {"file": files, "output": outputs, "option": options, "data": samples, "plan": plans}
CASES = [pytest.param(case, id=f"{kind}: {case.name}") for kind, table in TABLES.items() for case in table.CASES]
ROOT = Path(graphprune.__file__).parents[1]


@cache
def plan_text() -> str:
    """A plan that fits the model every case starts from."""
    return prune(residual(), ["layer-cka"], {"x": inputs()}, "removed=1", dry_run=True).plan.to_json()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where every case starts; the current folder."""
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "model.onnx").write_bytes(residual_bytes())
    (inside / "plan.json").write_text(plan_text())
    arrays("calib.npz")(inside)
    monkeypatch.chdir(inside)
    return inside


@pytest.mark.parametrize("case", CASES)
def test_bad_input(
    case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    case.arrange(folder)
    monkeypatch.setattr(sys, "argv", ["graphprune", *case.arguments()])
    before = snapshot(folder.parent)
    capfd.readouterr()
    try:
        code = _run()
    except SystemExit as error:  # nothing but entry() may end the process
        code = -1 if error.code is None else int(error.code)
    out, err = capfd.readouterr()
    wrong = problems(case, code, out, err, before, snapshot(folder.parent))
    assert not wrong, "\n".join([*wrong, f"stderr: {err}"])


@pytest.mark.parametrize(
    "line", [f"apply model.onnx plan.json {outputs.END}", f"model.onnx --pass layer-cka {outputs.END}"]
)
def test_the_starting_point_is_good(
    line: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Else every case could fail for a reason of its own."""
    monkeypatch.setattr(sys, "argv", ["graphprune", *line.split()])
    assert _run() == 0, capfd.readouterr().err
    assert (folder / "out.onnx").is_file()


def without_runtime(folder: Path) -> None:
    (folder / "sitecustomize.py").write_text("import sys\nsys.modules['onnxruntime'] = None\n")


def without_runtime_to_fold(folder: Path) -> None:
    """Constants that nodes compute are folded when a file is read."""
    without_runtime(folder)
    text(f"{files.PLAIN} {{ c = Constant<value_float = 2.0>() d = Neg(c) y = Mul(x, d) }}")(folder)


PROCESSES = [
    (Case("model missing", 1, "there is no file", model="nowhere.onnx"), None),
    (Case("model is no ONNX file", 1, "not an ONNX file", files.content(files.LFS_POINTER)), None),
    (Case("unknown option", 2, "--exclud", extra="--exclud blocks.0"), None),
    (Case("too many blocks", 4, "cannot be reached", target="removed=99"), None),
    (Case("too many blocks, verbosely", 4, "cannot be reached", target="removed=99", extra="-v"), None),
    (Case("value range too large", 1, "range|finite|infinity", data=None, extra="--val-range [0,1e39]"), None),
    (Case("no ONNX Runtime", 6, r"next: .*pip install 'graphprune\[cpu\]'", without_runtime), None),
    (Case("no ONNX Runtime to fold", 6, "pip install", without_runtime_to_fold, line="inspect model.onnx"), None),
    (Case("disk full", 1, "cannot write"), 4 << 10),
    (Case("disk full, weights outside", 1, "cannot write", external("weights.bin")), 4 << 10),
]


@pytest.mark.parametrize(("case", "limit_bytes"), [pytest.param(*row, id=row[0].name) for row in PROCESSES])
def test_bad_input_to_a_process(case: Case, limit_bytes: int | None, folder: Path) -> None:
    """The same through the installed command; ``limit_bytes`` is the largest file it may write."""
    case.arrange(folder)
    before = snapshot(folder.parent)
    limit: Callable[[], None] | None = None
    if limit_bytes is not None:
        size = limit_bytes

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    done = subprocess.run(
        [sys.executable, "-m", "graphprune", *case.arguments()],
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=limit,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (folder, ROOT))), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    wrong = problems(case, done.returncode, done.stdout, done.stderr, before, snapshot(folder.parent))
    assert not wrong, "\n".join([*wrong, f"stderr: {done.stderr}"])
