"""The figures of README.md and docs/index.md: what the first command prints, and what is quoted from the pages.

    python tools/figures/readme.py            # tells what differs; exit code 1 if anything but times does
    python tools/figures/readme.py --write    # puts it right

The command runs as it stands there, in a folder of its own, and its output replaces the one that is shown; times belong
to the machine, the ratio of them in the first line has its interval. The table below is quoted from pages that name the
command of each figure: there nothing is measured, but rounded as here.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_NUMBER = r"[-+]?\d[\d,.]*\d|\d"
_SHOWN = re.compile(r"```text\n(.*?)```", re.DOTALL)
_CELL = re.compile(r"^\| `([^`]+)` \|", re.MULTILINE)
_TIMED = re.compile(r"faster|difference in|SLOWER| ms|^─+$")  # rules are as wide as the widest time


def _rounded(figure: str | Decimal, digits: int) -> Decimal:
    """As on paper: 85.35 is 85.4."""
    return Decimal(figure).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)


def _top1(figure: str) -> Decimal:
    return _rounded(figure, 1)


def _share(figure: str) -> Decimal:
    return _rounded(figure, 0)


def _time(speed_up: str) -> Decimal:
    """The time left of what is so many times faster."""
    return _rounded(1 / Decimal(speed_up), 2)


@dataclass(frozen=True)
class Quoted:
    """Figures of a page under docs/, each what ``found`` captures, in order, and what the README ``says`` of them."""

    page: str
    found: tuple[str, ...]
    says: Callable[..., str]


_STEP = r"^\| {}, ([\d.]+) %.*\| ([\d.]+), ([\d.]+)x \|$"
_FILTERS = r"^\| {}, ([\d.]+) % \|[^|]*\| ([\d.]+), ([\d.]+)x \|"
_RIVALS = r"^\| {} % \| [\d.]+ %: [\d.]+, ([\d.]+) \|.*\| [\d.]+ %: [\d.]+, ([\d.]+) \|$"
_PERPLEXITY = r"^\| {} \| {} % \| [^|]*\| ([\d.]+) \|"

QUOTED = (
    Quoted(
        "measured.md",
        (_STEP.format(5),),
        lambda left, top1, gain: f"| `layer-cka` | {_share(left)} % of MACs | {_time(gain)} | {_top1(top1)} % |",
    ),
    Quoted(
        "measured.md",
        (_STEP.format(10),),
        lambda left, top1, gain: f"| | `layer-cka` | {_share(left)} % | {_time(gain)} | {_top1(top1)} % | |",
    ),
    Quoted(
        "measured.md",
        (
            r"`removed=9`, -([\d.]+) % of the MACs",
            r"^\| nine minutes .*\*\*([\d.]+)\*\* \|$",
            r"\(dense ([\d.]+) on all",
        ),
        lambda gone, top1, dense: (
            f"| | `layer-cka --heal 9min` | {_share(str(100 - Decimal(gone)))} % | | "
            f"{_top1(top1)} %, of {_top1(dense)} | |"
        ),
    ),
    Quoted(
        "measured.md",
        (_FILTERS.format(8), _RIVALS.format(30)),
        lambda left, top1, gain, onnxsim, taylor: (
            f"| | `filter-obs` | {_share(left)} % | {_time(gain)} | {_top1(top1)} % | "
            f"Torch-Pruning {_top1(taylor)}, with labels; onnxsim {_top1(onnxsim)} |"
        ),
    ),
    Quoted(
        "measured.md",
        (_FILTERS.format(14), _RIVALS.format(50)),
        lambda left, top1, gain, onnxsim, taylor: (
            f"| | `filter-obs` | {_share(left)} % | {_time(gain)} | {_top1(top1)} % | "
            f"{_top1(taylor)} and {_top1(onnxsim)} at 50 % |"
        ),
    ),
    Quoted(
        "measured.md",
        (r"without (\d+) % of heads and neurons \(`amp`\)", r"and ([\d.]+) after `ridge`; without two"),
        lambda gone, cosine: (
            f"| `amp` | {100 - int(gone)} % of heads and neurons | | cosine {cosine} to its own embeddings | |"
        ),
    ),
    Quoted(
        "language_models.md",
        (
            r"torch modules \(([\d.]+) both",
            *(_PERPLEXITY.format(n, 20) for n in ("`allocate`", "2SSP", "Wanda-sp")),
        ),
        lambda dense, ours, first, second: (
            f"perplexity {_top1(dense)} | `allocate` | 80 % of parameters | | {_top1(ours)} | "
            f"2SSP {_top1(first)}, Wanda-sp {_top1(second)} |"
        ),
    ),
    Quoted(
        "language_models.md",
        (
            *(_PERPLEXITY.format("`allocate`", n) for n in (25, 30)),
            *(_PERPLEXITY.format("2SSP", n) for n in (25, 30)),
        ),
        lambda one, two, first, second: (
            f"| | `allocate` | 75 %, 70 % | | {_top1(one)}, {_top1(two)} | 2SSP {_top1(first)}, {_top1(second)} |"
        ),
    ),
    Quoted(
        "zoo.md",
        (r"exports of (\d+) networks", r"([\d,]+ of [\d,]+) cuts"),
        lambda networks, cuts: f"**Proved**: {cuts} cuts of {networks} networks",
    ),
    Quoted(
        "measured.md",
        (r"^(\d+) networks of the zoo, (\d+) % of the MACs gone by `filter-magnitude`", r"^\| `--align 1` \| (\d+) \|"),
        lambda networks, gone, slow: (
            f"Of {networks} networks that lost {gone} % of their MACs by filters at odd widths, {slow} would"
        ),
    ),
)


def quoted(readme: str, page: Callable[[str], str]) -> str:
    """The README with the figures of the pages."""
    for each in QUOTED:
        figures: list[str] = []
        for pattern in each.found:
            found = re.findall(pattern, page(each.page), re.MULTILINE)
            if len(found) != 1:
                raise SystemExit(f"docs/{each.page} has {len(found)} places like {pattern}")
            figures += [found[0]] if isinstance(found[0], str) else found[0]
        readme = _put(each.says(*figures), readme)
    return readme


def _put(said: str, text: str) -> str:
    """``text`` with ``said`` in the one place where it stands with any figures."""
    places = list(re.finditer(_shape(said), text))
    if len(places) != 1:
        raise SystemExit(f"README.md has {len(places)} places like: {said}")
    return text[: places[0].start()] + said + text[places[0].end() :]


def _shape(said: str) -> str:
    """An expression for the same words with any figures, and any gaps between them."""
    parts = [r"\s+".join(map(re.escape, part.split(" "))) for part in re.split(_NUMBER, re.sub(" +", " ", said))]
    return f"(?:{_NUMBER})".join(parts)


def indexed(index: str, printed: str) -> str:
    """docs/index.md, whose table explains lines of the output, with the figures ``printed``."""

    def again(cell: re.Match[str]) -> str:
        line = re.search(_shape(cell[1]), printed)
        return cell[0] if line is None else f"| `{re.sub(' {2,}', '   ', line[0])}` |"

    return _CELL.sub(again, index)


def command(readme: str) -> str:
    """The first command, without the installation before it."""
    block = re.search(r"```console\n(.*?)```", readme, re.DOTALL)
    assert block is not None
    return block[1].splitlines()[0].partition(" && ")[2]


def shown(readme: str) -> str:
    """What it prints, as the README has it."""
    block = _SHOWN.search(readme)
    assert block is not None
    return block[1]


def printed(line: str) -> str:
    """What the command prints on a terminal of 80 columns, beside the shipped models; its cost goes to stderr."""
    paths = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "models").symlink_to(ROOT / "models")
        environment = os.environ | {"COLUMNS": "80", "PATH": paths}
        done = subprocess.run(
            line, shell=True, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{used.ru_utime + used.ru_stime:.0f} processor seconds", file=sys.stderr)
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


def without_times(text: str) -> list[str]:
    """Lines, each gap one blank, but for those with times: these differ from run to run."""
    lines = [" ".join(line.split()) for line in text.splitlines()]
    return [line for line, raw in zip(lines, text.splitlines(), strict=True) if line and not _TIMED.search(raw.strip())]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write README.md and docs/index.md")
    options = parser.parse_args()
    docs = ROOT / "docs"
    readme, index = (path.read_text(encoding="utf-8") for path in (ROOT / "README.md", docs / "index.md"))
    output = printed(command(readme))
    fresh = quoted(readme, lambda name: (docs / name).read_text(encoding="utf-8"))
    fresh = fresh.replace(shown(readme), output)
    differing = 0
    for path, old, new in ((ROOT / "README.md", readme, fresh), (docs / "index.md", index, indexed(index, output))):
        differing += without_times(old) != without_times(new)
        name = path.name
        sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), new.splitlines(True), name, name, n=0))
        if options.write:
            path.write_text(new, encoding="utf-8")
    return 0 if options.write else int(differing > 0)


if __name__ == "__main__":
    raise SystemExit(main())
