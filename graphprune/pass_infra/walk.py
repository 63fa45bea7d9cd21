"""Units chosen and their readers refitted in one walk from input to output, where it is known how many go of each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from graphprune.analysis.groups import Group
from graphprune.pass_infra.context import Context
from graphprune.pass_infra.removed_units import removed_units
from graphprune.plan.plan import Decision
from graphprune.repair.outcome import RepairReport
from graphprune.repair.refits import Refitted
from graphprune.repair.stage import carried_out
from graphprune.repair.task import RepairState
from graphprune.repair.walk import Choice, modest_batch, read_group


def walked(context: Context, groups: Sequence[Group], counted: Decision) -> Decision:
    """``counted`` with as many units of each group, but those that the walk finds cheapest.

    The network with its readers refitted is left in ``context.refits``. Each group has a :func:`read_group`.
    """
    started, analysis, history = time.perf_counter(), context.analysis, context.history
    counts = {units.group: len(units.removed) for units in counted.units}
    reads = [read for group in groups if group.name in counts and (read := read_group(analysis, group))]
    reads.sort(key=lambda read: analysis.flow.order[read.site.node])
    if not reads:
        return counted
    scene = RepairState(history.origin, analysis.model.copy(), history.removals)
    tasks = [Choice(scene, read, counts[read.group.name]) for read in reads]
    execution = context.execution
    batch = modest_batch(analysis.model, analysis.sizes, reads[-1].site.node, execution.batch)
    layers, samples = carried_out(
        scene, tasks, context.data, batch, execution.runtime, partial(execution.progress, "choosing and refitting")
    )
    kept = {}
    for task in tasks:
        kept[task.read.group.name] = np.ones(task.read.group.size, dtype=bool)
        kept[task.read.group.name][task.removed] = False
    report = RepairReport(("walk",), tuple(layers), samples, time.perf_counter() - started)
    context.refits.last = Refitted(scene.pruned, kept, report, len(history.removals))
    units = removed_units(
        [task.read.group for task in tasks],
        [task.losses for task in tasks],
        {task.read.group.atom: task.removed for task in tasks},
        analysis.typed_cost(),
    )
    return replace(counted, units=units)
