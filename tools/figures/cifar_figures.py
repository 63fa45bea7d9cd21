"""The figures of ``layer-cka`` on the CIFAR-10 ResNets: removal order, MACs, top-1 and measured speed-up. No training.

python tools/figures/cifar_figures.py resnet56 authors_resnet56 --removed 2 4 6 8 10 21
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from cifar import prepared, shared_folder

import graphprune
from graphprune import DataOptions, RunOptions, RuntimeOptions, TimingOptions


def truncated(plan: graphprune.Plan, count: int) -> graphprune.Plan:
    """The same greedy run, stopped earlier."""
    (decision,) = plan.decisions
    return replace(
        plan, decisions=(replace(decision, blocks=decision.blocks[:count]),), asked=f"removed={count}", reached=count
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--removed", type=int, nargs="+", default=[2, 4, 6, 8, 10, 21])
    parser.add_argument("--spec", default="layer-cka{rescore=none}")
    parser.add_argument("--threads", type=int, default=1, help="of the timing")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each timing")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    folder = prepared()
    rows = []
    for name in options.models:
        kind = "mean-image" if name.startswith("authors") else "standard"
        path = shared_folder() / "models" / f"{name}.onnx"
        calibration = folder / f"{kind}-calibration.npz"
        whole = graphprune.prune(
            path, [options.spec], data=calibration, target=f"removed={max(options.removed)}", dry_run=True
        )
        print(f"\n{name}: {whole.before.macs:,} MACs; order: {' '.join(block.name for block in whole.plan.blocks)}")
        print(
            f"scores and standard errors: "
            f"{' '.join(f'{b.score:.4f}({b.standard_error:.4f})' for b in whole.plan.blocks)}"
        )
        print(f"decided in {whole.seconds:.1f} s")
        run = RunOptions(
            data=DataOptions(evaluation=folder / f"{kind}-test.npz"),
            timing=TimingOptions(seconds=options.seconds),
            runtime=RuntimeOptions(threads=options.threads),
        )
        print("removed  MACs removed  top-1 before  after   speed-up [95 % interval]  validation error")
        for count in options.removed:
            result = graphprune.apply(path, truncated(whole.plan, count), data=calibration, options=run)
            assert result.evaluation and result.measurement and result.validation
            times = result.measurement.comparison
            percent = 100 * (1 - result.after.macs / result.before.macs)
            print(
                f"{count:7d}  {percent:10.2f} %  {100 * result.evaluation.before:10.2f} %  "
                f"{100 * result.evaluation.after:6.2f} %"
                f"  {times.speed_up:.3f}x [{1 / times.ratio_high:.3f}, {1 / times.ratio_low:.3f}]"
                f"      {result.validation.max_relative_error:.1e}",
                flush=True,
            )
            rows.append({"model": name, "removed": count} | result.to_dict())
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
