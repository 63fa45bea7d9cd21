"""The rooms of the house, from their docstrings and the layers in ``pyproject.toml``:
the code map of docs/architecture.md, and docs/architecture.svg.

python tools/architecture.py            # write both again
python tools/architecture.py --check    # exit code 1 where one is out of date
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import tomllib
from dataclasses import dataclass
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE, PICTURE = ROOT / "docs" / "architecture.md", ROOT / "docs" / "architecture.svg"
_START, _END = "<!-- code map: tools/architecture.py -->", "<!-- end of the code map -->"

_BESIDE = {
    "passes": "passes/",
    "errors": "graphprune/errors.py",
    "__main__": "graphprune/__main__.py",
}
_OUTSIDE = {
    "models/": "recipe, weights and data of the shipped network, trained on Fashion-MNIST (MIT licence)",
    "tests/": "mirrors the rooms; `zoo/` exports architectures, `bad_inputs/` is the corpus of what users get wrong",
    "tools/": "for people who work on this: `figures/` makes the tables of the docs, `checks/` tries to prove us wrong",
}
# Where a model file passes, and where a decision does; docs/architecture.md tells what happens there.
MODEL_PATH = ("cli", "ir", "analysis", "axes", "scoring", "rewrite", "validation", "repair", "measure", "report")
PLAN_PATH = ("passes", "pass_infra", "plan", "pipeline", "rewrite", "validation", "report")


@dataclass(frozen=True)
class Room:
    """A folder, or a loose file at the root of the package; ``text`` is the first paragraph of its docstring."""

    name: str
    place: str
    text: str


def layers() -> list[list[Room]]:
    """The rooms by layer, the lowest first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    listed = next(contract["layers"] for contract in settings["contracts"] if contract["type"] == "layers")
    names = [re.findall(r"graphprune\.(\w+)", layer) for layer in reversed(listed)]
    return [[_room(name) for name in layer if name != "__main__"] for layer in names if layer != ["__main__"]]


def _room(name: str) -> Room:
    place = _BESIDE.get(name, f"graphprune/{name}/")
    path = ROOT / place
    file = path / "__init__.py" if path.is_dir() else path
    text = ast.get_docstring(ast.parse(file.read_text())) or ""
    return Room(name, place, " ".join(text.split("\n\n")[0].split()).rstrip("."))


def code_map() -> str:
    """The table for the page."""
    rows = [(room.place, room.text) for layer in layers() for room in layer] + list(_OUTSIDE.items())
    lines = ["| room | what is in it |", "|---|---|"]
    lines += [f"| `{place}` | {_plain(text)} |" for place, text in rows]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """A docstring's sentence as Markdown, beginning as a part of a sentence does."""
    text = text.replace("``", "`")
    first = text.split()[0]
    return (
        text
        if first[1:] != first[1:].lower() or first.startswith("`") or first in _NAMES
        else text[0].lower() + text[1:]
    )


_NAMES = {"Olive", "Python", "Dask"}


def page() -> str:
    """docs/architecture.md with the table in its place."""
    text = PAGE.read_text()
    before, rest = text.split(_START)
    _, after = rest.split(_END)
    return f"{before}{_START}\n{code_map()}\n{_END}{after}"


_WIDTH, _ROW, _GAP, _LEFT, _TOP = 1080, 46, 8, 20, 76


def picture() -> str:
    """The layers as rows of boxes, the highest on top; numbers mark the path of a model, letters that of a decision."""
    rows = layers()[::-1]
    height = _TOP + len(rows) * (_ROW + _GAP) + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="system-ui, sans-serif" '
        'font-size="12" role="img" aria-label="The rooms of graphprune in layers">',
        "<style>.page{fill:#fff}.box{fill:#f6f8fa;stroke:#b6bec8}.name{font-weight:600;fill:#1f2328}.text{fill:#59636e}"
        ".model{fill:#0b62c4}.plan{fill:#a1450a}.mark{fill:#fff;font-weight:600;font-size:11px}"
        "@media(prefers-color-scheme:dark){.page{fill:#0d1117}.box{fill:#161b22;stroke:#3d444d}.name{fill:#f0f6fc}"
        ".text{fill:#9198a1}.model{fill:#1f6feb}.plan{fill:#bd561d}}</style>",
        f'<rect class="page" width="{_WIDTH}" height="{height}"/>',
        f'<text class="name" x="{_LEFT}" y="26" font-size="15">A room imports only what stands below it.</text>',
        *_mark(_LEFT + 9, 48, "1", "model"),
        f'<text class="text" x="{_LEFT + 26}" y="52">where a model file passes, in this order</text>',
        *_mark(_LEFT + 309, 48, "a", "plan"),
        f'<text class="text" x="{_LEFT + 326}" y="52">where a decision passes</text>',
    ]
    for index, row in enumerate(rows):
        y = _TOP + index * (_ROW + _GAP)
        width = (_WIDTH - 2 * _LEFT - _GAP * (len(row) - 1)) / len(row)
        for column, room in enumerate(row):
            parts += _box(room, _LEFT + column * (width + _GAP), y, width)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _box(room: Room, x: float, y: float, width: float) -> list[str]:
    """One room, with its marks at the right."""
    marks = [(str(n + 1), "model") for n, name in enumerate(MODEL_PATH) if name == room.name]
    marks += [(chr(ord("a") + n), "plan") for n, name in enumerate(PLAN_PATH) if name == room.name]
    parts = [
        f'<rect class="box" x="{x:g}" y="{y}" width="{width:g}" height="{_ROW}" rx="6"/>',
        f'<text class="name" x="{x + 12:g}" y="{y + 19}">{escape(room.place.removeprefix("graphprune/"))}</text>',
        f'<text class="text" x="{x + 12:g}" y="{y + 36}">{escape(_short(room.text, width))}</text>',
    ]
    for index, (label, kind) in enumerate(reversed(marks)):
        parts += _mark(x + width - 18 - 24 * index, y + 15, label, kind)
    return parts


def _mark(x: float, y: float, label: str, kind: str) -> list[str]:
    return [
        f'<circle class="{kind}" cx="{x:g}" cy="{y:g}" r="9"/>',
        f'<text class="mark" x="{x:g}" y="{y + 4:g}" text-anchor="middle">{label}</text>',
    ]


def _short(text: str, width: float) -> str:
    """As many words as fit."""
    text = text.replace("``", "")
    most = int((width - 24) / 6.8)
    return text if len(text) <= most else text[:most].rsplit(" ", 1)[0] + " …"


def main() -> int:
    """Write or check both; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where a file is out of date")
    checks = parser.parse_args().check
    stale = [
        path for path, text in ((PAGE, page()), (PICTURE, picture())) if not path.exists() or path.read_text() != text
    ]
    for path in stale:
        print(f"{path.relative_to(ROOT)} {'is out of date: python tools/architecture.py' if checks else 'written'}")
    if not checks:
        PAGE.write_text(page())
        PICTURE.write_text(picture())
    return int(checks and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
