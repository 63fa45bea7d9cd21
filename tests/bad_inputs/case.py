"""One bad input, and the judge of what the command did with it."""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Snapshot = dict[str, tuple[int, bytes]]


def _as_it_is(folder: Path) -> None:
    """No change to the folder that every case starts from."""


@dataclass(frozen=True)
class Case:
    """A run that must fail with ``code`` and a message that matches the pattern ``says``.

    Every case starts in a folder with ``model.onnx`` (residual), ``calib.npz`` (16 samples) and ``plan.json``;
    ``arrange`` changes that folder. ``line`` replaces the whole command line.
    """

    name: str
    code: int
    says: str
    arrange: Callable[[Path], object] = _as_it_is
    model: str = "model.onnx"
    spec: str = "layer-cka"
    target: str = "removed=1"
    data: str | None = "calib.npz"
    output: str = "out.onnx"
    extra: str = ""
    line: str = ""

    def arguments(self) -> list[str]:
        if self.line:
            return shlex.split(self.line)
        data = ["--data", self.data] if self.data else []
        options = ["--pass", self.spec, "--target", self.target, "-o", self.output, "--no-bench"]
        return [self.model, *options, *data, *shlex.split(self.extra)]


def snapshot(folder: Path) -> Snapshot:
    """Kind and content of everything below ``folder``; links are not followed, pipes not read."""
    found: Snapshot = {}
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(root) / name
            kind = stat.S_IFMT(path.lstat().st_mode)
            content = path.read_bytes() if kind == stat.S_IFREG else b""
            found[str(path.relative_to(folder))] = kind, os.fsencode(path.readlink()) if path.is_symlink() else content
    return found


def problems(case: Case, code: int, out: str, err: str, before: Snapshot, after: Snapshot) -> list[str]:
    """Everything that is wrong with the way a run failed; empty when it failed well."""
    if "-v" in case.extra.split():  # what the passes did is logged before
        err = re.sub(r"^INFO:.*\n", "", err, flags=re.MULTILINE)
    lines = err.splitlines() or [""]
    checks = {
        f"exit code {code}, not {case.code}": code == case.code,
        "the message does not begin as it must": re.match(r"graphprune: error: \S", lines[0]),
        "there is more than one line and one 'next'": re.fullmatch(r"[^\n]*(\n  next: \S[^\n]*)?", err.strip()),
        "the message is more than a sentence": not re.search(r"[.!] [A-Z]", lines[0].replace("...", "")),
        f"the message lacks /{case.says}/": re.search(case.says, err),
        "there is a traceback": "Traceback" not in err,
        f"stdout holds {out[:80]!r}": not out,
        f"new files: {sorted(after.keys() - before.keys())}": not after.keys() - before.keys(),
        f"lost files: {sorted(before.keys() - after.keys())}": not before.keys() - after.keys(),
        f"changed files: {sorted(n for n in before if n in after and before[n] != after[n])}": all(
            before[name] == after[name] for name in before if name in after
        ),
    }
    return [complaint for complaint, fine in checks.items() if not fine]
