"""Convert every network of the zoo to PyTorch, and compare it with its file before and after its weights changed.

python tools/checks/bridge_zoo.py                        every network, both exporters,
and the light models of the onnx wheel python tools/checks/bridge_zoo.py resnet_v1 llama        some of them
python tools/checks/bridge_zoo.py --again                also those whose result is already in build/bridge_zoo.json

Exports are kept in build/bridge.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from graphprune.errors import GraphpruneError
from graphprune.ir.loading import load
from graphprune.ir.model import Model
from tests.torch_bridge.checks import NO_GRADIENT, check
from tests.zoo.entry import EXPORTERS, Exporter
from tests.zoo.export import ZOO, export
from tests.zoo.light import light, light_models

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "bridge"
RESULTS = ROOT / "build" / "bridge_zoo.json"

HEADER = "| network | exporter | error | after a change | parameters | trouble |\n|---|---|---|---|---|---|"


def exported(name: str, exporter: Exporter) -> tuple[Path, dict[str, np.ndarray]]:
    """Path and feed of an export, made at the first call."""
    path, feed_path = FOLDER / f"{name}-{exporter}.onnx", FOLDER / f"{name}-{exporter}.npz"
    if not feed_path.exists():
        path, feed = export(name, exporter, FOLDER)
        np.savez(feed_path, **feed)  # type: ignore[arg-type]
    with np.load(feed_path) as stored:
        return path, dict(stored)


def subjects(names: list[str]) -> Iterator[tuple[str, str]]:
    """Network and exporter of every row."""
    for name, entry in ZOO.items():
        for exporter in EXPORTERS:
            if (not names or name in names) and exporter not in entry.unsupported:
                yield name, exporter
    for name in light_models():
        if not names or name in names:
            yield name, "onnx wheel"


def subject(name: str, exporter: str) -> tuple[Model, dict[str, np.ndarray]]:
    """The model of a row with its feed."""
    if exporter == "onnx wheel":
        proto, feed = light(name)
        return load(proto), feed
    path, feed = exported(name, next(known for known in EXPORTERS if known == exporter))
    return load(path), feed


def row(name: str, exporter: str) -> dict[str, Any]:
    """What came of one network; whatever goes wrong is trouble."""
    started = time.perf_counter()
    found: dict[str, Any] = {"network": name, "exporter": exporter}
    try:
        model, feed = subject(name, exporter)
        checked = check(model, feed)
        checked.unreached = [key for key in checked.unreached if key not in NO_GRADIENT.get(name, ())]
    except GraphpruneError as error:
        return found | {"good": False, "trouble": error.message}
    except Exception as error:  # noqa: BLE001  the table goes on with the next network
        return found | {"good": False, "trouble": f"{type(error).__name__}: {str(error).strip()[:300]}"}
    trouble = f"no gradient: {', '.join(checked.unreached[:4])}" if checked.unreached else ""
    if not checked.is_same_again:
        trouble += " write_back changes the file"
    seconds = round(time.perf_counter() - started, 2)
    return found | vars(checked) | {"good": checked.is_good, "trouble": trouble, "seconds": seconds}


def line(found: dict[str, Any]) -> str:
    """One row of the table."""
    errors = [f"{found[key]:.0e}" if key in found else "" for key in ("error", "error_after_change")]
    mark = found["trouble"] or ("" if found["good"] else "too far off")
    return (
        f"| {found['network']} | {found['exporter']} | {' | '.join(errors)} | {found.get('parameters', '')} | {mark} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--again", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    rows = []
    print(HEADER)
    for name, exporter in subjects(options.names):
        key = f"{name}-{exporter}"
        if options.again or not known.get(key, {}).get("good"):
            known[key] = row(name, exporter)
            RESULTS.write_text(json.dumps(known, indent=1))
        rows.append(known[key])
        print(line(known[key]), flush=True)
    good = [found for found in rows if found["good"]]
    worst = max((found["error"] for found in good), default=0.0)
    after = max((found["error_after_change"] for found in good), default=0.0)
    print(f"\n{len(good)} of {len(rows)} exports; worst error {worst:.1e}, after a change of weights {after:.1e}")
    sys.exit(len(good) < len(rows))


if __name__ == "__main__":
    main()
