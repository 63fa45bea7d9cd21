"""Questions about models that change nothing: what could go, and which of two is faster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from graphprune.bench.ort import Measurement, measure
from graphprune.cost import part_cost
from graphprune.data import input_specs
from graphprune.errors import ModelError
from graphprune.loading import load
from graphprune.report.inspection import Inspection, Row
from graphprune.subject import RunOptions, Source, prepare


def inspect_model(source: Source, data: Any, options: RunOptions) -> Inspection:
    """Load ``source`` and list its joins; ``data`` only gives the input shape."""
    subject = prepare(source, data, options)
    rows = []
    for join in subject.anatomy.joins:
        block, refusal = join.block, join.refusal
        nodes = block.nodes if block else (join.node,)
        cost = part_cost(subject.model, nodes, subject.anatomy.sizes)
        rows.append(
            Row(
                name=join.name,
                join=join.node,
                stage=join.stage,
                nodes=nodes,
                context=block.context if block else (),
                macs=cost.macs,
                params=cost.params,
                rule=refusal.rule if refusal else "",
                reason=refusal.reason if refusal else "",
            )
        )
    return Inspection(str(source), subject.anatomy.cost, tuple(rows))


def benchmark(original: Path, pruned: Path, data: Any, options: RunOptions) -> Measurement:
    """Time two model files on the inputs of the first.

    Raises
    ------
    ModelError
        The models do not take the same inputs.
    """
    subject = prepare(original, data, options)
    other = load(pruned)
    mine, theirs = (sorted(input_specs(model), key=str) for model in (subject.model, other))
    if [(spec.name, spec.dtype) for spec in mine] != [(spec.name, spec.dtype) for spec in theirs]:
        takes = [", ".join(map(str, specs)) for specs in (mine, theirs)]
        raise ModelError(f"{original} takes {takes[0]}, {pruned} takes {takes[1]}", "compare like with like")
    options.progress("measuring", 0, 0)
    feeds = subject.data.first(options.bench_batch)
    return measure(original, pruned, feeds, options.runtime, min_seconds=options.bench_seconds)
