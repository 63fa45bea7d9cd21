"""30 % of the MACs by filters, with widths as they come and with --align auto: what would have been slower,
what is written.

python tools/figures/never_slower.py results.json          thirty networks, one thread;
goes on where an earlier run stopped python tools/figures/never_slower.py results.json --table  the counts, as Markdown
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).resolve().parent))

from zoo_files import Network, network

import graphprune
from graphprune import RecoveryOptions, RunOptions, RuntimeOptions, TimingOptions
from graphprune.errors import GraphpruneError, NotFaster
from tests.zoo.export import ZOO
from tests.zoo.light import light_models

COUNT = 30
BATCH = 8
LARGE = ("light_vgg19",)
SPEC, TARGET = "filter-magnitude", "flops=0.7"
ALIGNS: tuple[int | Literal["auto"], ...] = (1, "auto")


def candidates() -> list[str]:
    """Networks that take images, the small exports first, then those of the onnx wheel."""
    lights = [f"light_{name}" for name in light_models() if f"light_{name}" not in LARGE]
    images = [
        n
        for n, e in ZOO.items()
        if list(e.dynamic) == ["image"] and not e.requires and "torchscript" not in e.unsupported
    ]
    return images + lights


def one(net: Network, align: int | Literal["auto"], seconds: float) -> dict[str, Any]:
    """One row: written, refused, or not prunable so far."""
    options = RunOptions(
        align=align,
        timing=TimingOptions(batch=net.batch, seconds=seconds),
        recovery=RecoveryOptions(repair=()),
        runtime=RuntimeOptions(threads=1),
    )
    row: dict[str, Any] = {"network": net.name, "align": align}
    try:
        result = graphprune.prune(net.path, [SPEC], net.data, TARGET, options=options)
    except NotFaster as error:
        return row | {"outcome": "refused", "why": error.message, "fix": error.fix}
    except GraphpruneError as error:
        return row | {"outcome": "out of reach", "why": error.message}
    assert result.measurement is not None
    times = result.measurement.comparison
    return row | {"outcome": "written", "ratio": times.ratio, "interval": [times.ratio_low, times.ratio_high]}


def table(rows: list[dict[str, Any]]) -> str:
    """Counts for those networks that both ways of rounding can bring to the target."""
    names = dict.fromkeys(row["network"] for row in rows)
    reach = [n for n in names if all(r["outcome"] != "out of reach" for r in rows if r["network"] == n)][:COUNT]
    lines = ["| widths | networks | would not have been faster | written | their median time ratio |", "|---" * 5 + "|"]
    for align in ALIGNS:
        mine = [row for row in rows if row["align"] == align and row["network"] in reach]
        ratios = sorted(row["ratio"] for row in mine if row["outcome"] == "written")
        middle = f"{ratios[len(ratios) // 2]:.2f}" if ratios else ""
        refused = sum(row["outcome"] == "refused" for row in mine)
        lines.append(f"| `--align {align}` | {len(mine)} | {refused} | {len(ratios)} | {middle} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--seconds", type=float, default=0.5, help="of each timing, four times as many where undecided")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = json.loads(options.results.read_text()) if options.results.exists() else []
    done = {(row["network"], row["align"]) for row in rows}
    reached = 0
    for name in () if options.table else candidates():
        with tempfile.TemporaryDirectory() as place:
            missing = [align for align in ALIGNS if (name, align) not in done]
            if missing:
                net = network(name, Path(place), BATCH)
            for align in missing:
                rows.append(one(net, align, options.seconds))
                options.results.write_text(json.dumps(rows, indent=1))
                print(json.dumps(rows[-1]), flush=True)
        reached += all(row["outcome"] != "out of reach" for row in rows if row["network"] == name)
        if reached == COUNT:
            break
    print(table(rows))


if __name__ == "__main__":
    main()
