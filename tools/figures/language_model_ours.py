"""graphprune's passes on a decoder's folder, at a share of all parameters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SPECS = {
    "filter-obs": "filter-obs",
    "allocate": "allocate",
    "amp": "amp",
    "mop": "mop",
    "layer-angular": "layer-angular{unit=layer}",
    "layer-cka": "layer-cka{unit=layer,shortlist=8}",
    "layer-consensus": "layer-consensus{unit=layer,shortlist=8}",
}
"""Method and pass, with the default repair."""
STEPS = 200
TRAINED = {f"{method}, {STEPS} steps": method for method in ("filter-obs", "layer-angular")}
"""Then all weights trained on the part of the text that calibrates, two chunks a step, each once, by the next tokens
and the unpruned decoder's distribution.
"""


@dataclass(frozen=True)
class Cut:
    """``is_proved``: compared with the masked original; ``repair`` names what refitted the rest."""

    is_proved: bool
    repair: str


def target(method: str, share: float, layers: int) -> str:
    """In the words of the command; passes over layers take ``layers`` of them."""
    return f"removed={layers}" if method.startswith("layer-") else f"params={1 - share:g}"


def cut(
    folder: Path, method: str, goal: str, ids: np.ndarray, out: Path, plan: Path, *, prove: bool, threads: int
) -> Cut:
    """Write the pruned folder ``out`` and its ``plan``; ``ids`` [chunks, tokens] calibrate."""
    import graphprune
    from graphprune import RunOptions, RuntimeOptions, TimingOptions

    options = RunOptions(
        batch=2,
        align=16,
        timing=TimingOptions(measure_latency=False, cache_dir=out.parent.parent / "cache"),
        runtime=RuntimeOptions(threads=threads),
    )
    with nullcontext() if prove else unproved():
        result = graphprune.prune(folder, SPECS[method], {"input_ids": ids}, goal, out, options=options)
    result.plan.save(plan)
    return Cut(prove, ",".join(result.repair.methods) if result.repair else "none")


def trained(folder: Path, teacher: Path, text: Path, out: Path, threads: int) -> None:
    """Write the folder ``out``: the pruned one after the steps on the file ``text``; goes on where it was killed."""
    import graphprune
    from graphprune import RunOptions, RuntimeOptions
    from graphprune.training import TrainOptions

    how = TrainOptions(steps=STEPS, batch=2, checkpoint=out.with_suffix(".checkpoint"), resume=True)
    graphprune.finetune(
        folder, text, teacher, out, training=how, options=RunOptions(runtime=RuntimeOptions(threads=threads))
    )


@contextmanager
def unproved() -> Iterator[None]:
    """While inside, files are written without their comparison with the masked original, which takes as long again."""
    from graphprune.ir import export
    from graphprune.pipeline.rounds import Rounds

    def write(_: Any, small: Any, path: Path) -> None:
        export.write(small.model, path)

    proving = Rounds.prove
    Rounds.prove = write  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        Rounds.prove = proving  # type: ignore[method-assign]
