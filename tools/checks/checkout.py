"""Whether a checkout without symbolic links (Windows, a zip from the web) installs, builds and runs.

python tools/checks/checkout.py

Clones the last commit with ``core.symlinks=false``, so that ``graphprune/passes`` is a text file of nine bytes,
and asks ``graphprune passes`` of an editable install, an install, the wheel that ``python -m build`` makes,
and of the bare clone. The answers, and the files of the wheels, must be those of an ordinary checkout.
Needs the package ``build``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Run every check in a temporary folder; ends with the first difference."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clone, ordinary = folder / "clone", folder / "ordinary"
        _run("git", "-c", "core.symlinks=false", "clone", "--quiet", str(ROOT), str(clone))
        _run("git", "-c", "core.symlinks=true", "clone", "--quiet", str(ROOT), str(ordinary))
        if (clone / "graphprune" / "passes").is_dir():
            raise SystemExit("graphprune/passes is no link any more: this check checks nothing")
        expected = _passes(folder, ordinary)

        built, ordinarily_built = _built(clone, folder / "dist"), _built(ordinary, folder / "ordinary_dist")
        difference = _files(built) ^ _files(ordinarily_built)
        if difference:
            raise SystemExit(f"the wheels of the two checkouts differ in {sorted({name for name, _ in difference})}")

        answers = {
            "the bare clone": _passes(folder, clone),
            "pip install -e .": _passes(_installed(folder / "editable", "--editable", str(clone))),
            "pip install .": _passes(_installed(folder / "plain", str(clone))),
            "python -m build": _passes(_installed(folder / "built", str(built))),
        }
        for way, answer in answers.items():
            if answer != expected:
                raise SystemExit(f"{way}: without symbolic links, `graphprune passes` says\n{answer}\nnot\n{expected}")
            print(f"{way}: as in an ordinary checkout")


def _built(checkout: Path, folder: Path) -> Path:
    """The wheel that ``python -m build`` makes from the source archive that it makes from ``checkout``."""
    _run(sys.executable, "-m", "build", "--outdir", str(folder), str(checkout))
    (wheel,) = folder.glob("*.whl")
    return wheel


def _installed(folder: Path, *what: str) -> Path:
    """A virtual environment with graphprune installed from ``what``, and the dependencies of this one."""
    venv.create(folder, symlinks=os.name != "nt")
    (site,) = folder.rglob("site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    pip = (sys.executable, "-m", "pip", "--python", str(_python(folder)))
    _run(*pip, "install", "--quiet", "--no-deps", "--ignore-installed", *what)
    return folder


def _passes(folder: Path, path: Path | None = None) -> str:
    """What ``graphprune passes`` prints, run in ``folder`` with its environment or, of a checkout ``path``,
    with this one.
    """
    python = _python(folder) if path is None else Path(sys.executable)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    return _run(str(python), "-m", "graphprune", "passes", cwd=folder, environment=environment)


def _python(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _files(wheel: Path) -> set[tuple[str, int]]:
    """Name and checksum of every file of the wheel."""
    with ZipFile(wheel) as archive:
        return {(entry.filename, entry.CRC) for entry in archive.infolist()}


def _run(*command: str, cwd: Path | None = None, environment: dict[str, str] | None = None) -> str:
    """The command's output; ends the script with all it said if it fails."""
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}failed with exit code {done.returncode}")
    return done.stdout


if __name__ == "__main__":
    main()
