"""Random networks, random plans, every oracle, for as long as you like. Each example is a number,
so it can be had again.

python tools/checks/fuzz.py --examples 10000 --seed 0 --save failures
python tools/checks/fuzz.py --examples 1 --seed 4711
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from pathlib import Path

import onnx

sys.path.insert(0, str(Path(__file__).parents[2]))

from graphprune.analysis.groups import find_groups
from graphprune.axes.infer import infer
from graphprune.ir.loading import load
from tests.property.networks import check_random, random_network, random_plan, seeded


def save(seed: int, folder: Path, report: str) -> None:
    """The model, the plan as kept indices by group name, and what went wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    choose = seeded(seed)
    proto = random_network(choose)
    onnx.save(proto, folder / f"{seed}.onnx")
    (folder / f"{seed}.txt").write_text(report)
    model = load(proto)
    groups = find_groups(model, infer(model))
    plan = random_plan(groups, choose)
    kept = {group.name: plan[group.atom].nonzero()[0].tolist() for group in groups if group.atom in plan}
    (folder / f"{seed}.plan.json").write_text(json.dumps(kept, indent=1))


def check(seed: int) -> tuple[int, str]:
    """Number of groups and blocks cut, and what went wrong in one example."""
    choose = seeded(seed)
    try:
        return check_random(random_network(choose), choose), ""
    except Exception:  # noqa: BLE001 - whatever goes wrong is what is looked for
        return 0, traceback.format_exc()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="of the first example; the others count on from there")
    parser.add_argument("--save", type=Path, help="folder for failing models and plans")
    options = parser.parse_args()
    failed: list[int] = []
    start, cut, idle = time.monotonic(), 0, 0
    for done, seed in enumerate(range(options.seed, options.seed + options.examples), 1):
        groups, report = check(seed)
        cut, idle = cut + groups, idle + (not groups and not report)
        if report:
            failed.append(seed)
            print(f"seed {seed} failed: {report.strip().splitlines()[-1][:200]}", flush=True)
            if options.save:
                save(seed, options.save, report)
        if done % 500 == 0 or done == options.examples:
            seconds = time.monotonic() - start
            print(
                f"{done} examples, {cut} cuts, {idle} with nothing to cut, {len(failed)} failed, {seconds:.0f} s",
                flush=True,
            )
    if failed:
        print(f"failing seeds: {' '.join(map(str, failed))}; again with --examples 1 --seed N")
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
