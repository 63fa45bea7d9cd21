"""The versions that the tests ran with, as ``constraints.txt``: what ``.ci/run`` installs, and all that this needs.

python tools/constraints.py

Run it in the environment that the tests passed in. ``pip install -e '.[cpu,test]' -c constraints.txt`` makes such a one
again. Local parts of versions (``+cpu``) are left out, so that any index will do.
"""

from __future__ import annotations

import platform
import re
from collections import deque
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "constraints.txt"
EXTRAS = ("cpu", "test")


def asked() -> list[Requirement]:
    """What CI asks for by name: the package's own requirements, and the other tools of ``.ci/run``."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    texts = [*project["dependencies"], *(text for extra in EXTRAS for text in optional[extra])]
    (others,) = re.findall(r'^others="(.*)"$', (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    return [Requirement(text) for text in (*texts, *others.split())]


def closure(requirements: list[Requirement]) -> dict[str, str]:
    """Name and version of all that is installed of ``requirements`` and of what these require."""
    found: dict[str, str] = {}
    waiting, seen = deque(requirements), set[tuple[str, str]]()
    while waiting:
        wanted = waiting.popleft()
        try:
            package = metadata.distribution(wanted.name)
        except metadata.PackageNotFoundError:
            continue  # of another system or Python
        found[canonicalize_name(wanted.name)] = package.version.partition("+")[0]
        for extra in ("", *wanted.extras):
            if (wanted.name, extra) in seen:
                continue
            seen.add((wanted.name, extra))
            for text in package.requires or ():
                needed = Requirement(text)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    waiting.append(needed)
    return dict(sorted(found.items()))


def text() -> str:
    """The file."""
    head = (
        f"# Versions that the tests ran with, on Python {platform.python_version()}; written by tools/constraints.py.\n"
    )
    return head + "".join(f"{name}=={version}\n" for name, version in closure(asked()).items())


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
