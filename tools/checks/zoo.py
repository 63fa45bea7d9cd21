"""Cut everything that can be cut out of every network of the zoo, and print what happened.

python tools/checks/zoo.py                        every network, both exporters, and the light models of the onnx wheel
python tools/checks/zoo.py resnet_v1 llama        some of them
python tools/checks/zoo.py --markdown zoo.md --json zoo.json
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.zoo.entry import EXPORTERS
from tests.zoo.export import ZOO, export
from tests.zoo.light import light, light_models
from tests.zoo.survey import Survey, survey

Row = tuple[str, str, Survey | None, str]
"""Network, exporter, what was found, or why there is nothing."""


def rows(names: list[str], folder: Path) -> Iterator[Row]:
    """One row per network and exporter."""
    for name, entry in ZOO.items():
        for exporter in EXPORTERS:
            if names and name not in names:
                continue
            if exporter in entry.unsupported:
                yield name, exporter, None, entry.unsupported[exporter]
                continue
            path, feed = export(name, exporter, folder)
            yield name, exporter, survey(path, feed), ""
            path.unlink()
    for name in light_models():
        if not names or name in names:
            proto, feed = light(name)
            yield f"light_{name}", "onnx wheel", survey(proto, feed), ""


def plain(found: Survey) -> dict[str, object]:
    """For JSON."""
    return vars(found) | {"refusals": dict(found.refusals), "missing": dict(found.missing)}


def line(name: str, exporter: str, found: Survey | None, why: str) -> str:
    """One row of the table."""
    if found is None:
        return f"| {name} | {exporter} | not exported: {why} | | | | | |"
    total = found.cuts + found.removals
    frozen = ", ".join(f"{count} {reason}" for reason, count in found.refusals.most_common()) or "none"
    return (
        f"| {name} | {exporter} | {found.prunable} of {found.groups} | {found.blocks} | {found.validated} of {total} "
        f"| {found.idle} | {found.worst_error:.0e} | {frozen} | {found.seconds:.1f} |"
    )


HEADER = (
    "| network | exporter | groups prunable | blocks | validated | without effect | worst error | groups kept, and why "
    "| s |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    lines, content, failed = [HEADER], [], 0
    totals: Counter[str] = Counter()
    print(HEADER, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, exporter, found, why in rows(options.names, Path(folder)):
            lines.append(line(name, exporter, found, why))
            print(lines[-1], flush=True)
            content.append({"network": name, "exporter": exporter, "why": why} | (plain(found) if found else {}))
            if found is not None:
                totals.update(
                    rows=1, groups=found.prunable, checks=found.cuts + found.removals, validated=found.validated
                )
                failed += len(found.failures)
                for failure in found.failures:
                    print(f"  FAILED {failure}", file=sys.stderr, flush=True)
            for path, text in (
                (options.markdown, "\n".join(lines) + "\n"),
                (options.json, json.dumps(content, indent=1)),
            ):
                if path is not None:
                    path.write_text(text)
    print(
        f"\n{totals['rows']} exports, {totals['groups']} prunable groups, {totals['validated']} of {totals['checks']} "
        f"validated"
    )
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
