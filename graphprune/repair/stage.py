"""The repair stage: other numbers for the layers of a pruned network, from unlabelled samples, without training.

Both networks are walked from input to output. Each layer is shown what the pruned network gives it, with all earlier
repairs in force, and what the original network would want of it; so errors do not pile up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Literal, get_args

from graphprune.analysis.sizes import Sizes
from graphprune.base.memory import give_back
from graphprune.data.dataset import Data
from graphprune.errors import OptionError
from graphprune.ir.model import Model
from graphprune.repair import matrices
from graphprune.repair.channel_map import ChannelMap
from graphprune.repair.outcome import LayerRepair, RepairReport
from graphprune.repair.refit import Refit
from graphprune.repair.rematch import MomentMatching
from graphprune.repair.sites import RepairLayer, find_sites, left_alone
from graphprune.repair.task import RepairState, Task
from graphprune.repair.walk import WalkRefit, cut_readers, modest_batch
from graphprune.rewrite.removal import Removal
from graphprune.runtime.blas import blas_threads, threads_for
from graphprune.runtime.sessions import RuntimeOptions
from graphprune.segments.stepwise import StepwiseRun, Values

Method = Literal["stats", "ridge", "walk"]
METHODS: tuple[Method, ...] = ("stats", "ridge")
"""Those that repair all layers; ``walk`` only repairs the readers of what went."""
DEFAULT: tuple[Method, ...] = METHODS
_WORDS: tuple[Method, ...] = get_args(Method)

MEMORY_LIMIT_BYTES = 1 << 30
"""For the sums of one layer; a convolution whose windows need more is repaired by a channel map."""

WALK_BYTES = 64 << 20
"""For the waiting tensors of one network; a language model's weights are large enough, the rest waits in files."""


def parse_methods(text: str) -> tuple[Method, ...]:
    """Read ``none``, ``stats``, ``ridge``, ``walk`` or a list such as ``stats,ridge``.

    Raises
    ------
    OptionError
        A word that is no method.
    """
    words = [word.strip() for word in text.split(",")]
    if words == ["none"]:
        return ()
    for word in words:
        if word not in _WORDS:
            offered = ", ".join(_WORDS)
            raise OptionError(f"'{word}' is no repair", f"write none, or some of {offered} with commas between")
    return tuple(method for word in words for method in _WORDS if method == word)


def repair(
    original: Model,
    pruned: Model,
    steps: Sequence[Removal],
    sizes: Sizes,
    data: Data,
    batch: int,
    methods: Sequence[Method],
    options: RuntimeOptions,
    progress: Callable[[str, int, int], None],
    memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
    repaired: Model | None = None,
) -> tuple[Model, RepairReport]:
    """A copy of ``pruned`` with other weights and biases, and what became of each layer.

    ``steps`` led from ``original`` to ``pruned``; ``sizes`` are the concrete tensor shapes of ``pruned``. No shape,
    no node and no name changes. Labels are not looked at. Where the last step was made from a network that has been
    ``repaired`` with the same samples, layers that see no change since then are left as they are.
    """
    started = time.perf_counter()
    layers: list[LayerRepair] = []
    scene = RepairState(original, pruned.copy(), tuple(steps))
    samples = 0
    maps = {map_.node for step in steps for map_ in step.maps}
    for method in methods:
        is_walk = method == "walk"
        sites = (cut_readers if is_walk else find_sites)(original, scene.pruned, sizes)
        if repaired is not None:
            concerned = {site.node for site in find_sites(repaired, scene.pruned, sizes)}
            sites = [site for site in sites if site.node in concerned]
        if method == "stats":  # a regression varies less than its target, and is to
            sites = [site for site in sites if site.node not in maps]
        tasks = [
            task_of(method, scene, site, memory_limit_bytes, _dense_rows(scene, site, sizes, data)) for site in sites
        ]
        size = modest_batch(scene.pruned, sizes, tasks[-1].node.name, batch) if is_walk and tasks else batch
        found, samples = carried_out(scene, tasks, data, size, options, partial(progress, f"repair {method}"))
        layers += found
        layers += [LayerRepair(label, method, 0.0, 0.0, False, why) for label, why in left_alone(original, pruned)]
    return scene.pruned, RepairReport(tuple(methods), tuple(layers), samples, time.perf_counter() - started)


def carried_out(
    scene: RepairState,
    tasks: Sequence[Task],
    data: Data,
    batch: int,
    options: RuntimeOptions,
    progress: Callable[[int, int], None],
) -> tuple[list[LayerRepair], int]:
    """Walk both networks of ``scene`` from task to task; the outcome of each, and the number of samples."""
    limit_bytes = WALK_BYTES if any(isinstance(task, WalkRefit) for task in tasks) else MEMORY_LIMIT_BYTES
    layers: list[LayerRepair] = []
    with ExitStack() as stack:
        dense = stack.enter_context(
            StepwiseRun(scene.original, [task.original_reads for task in tasks], options, limit_bytes)
        )
        cut = stack.enter_context(
            StepwiseRun(scene.pruned, [task.pruned_reads for task in tasks], options, limit_bytes)
        )
        samples = 0
        for part in data.batches(batch):  # read once: the source may give other samples, or another order, next time
            dense.take(part.feeds)
            cut.take(part.feeds)
            samples += len(part)
        for index, task in enumerate(tasks):
            progress(index, len(tasks))
            layers.append(carry_out(task, dense.advance(index), cut, index, options.thread_count))
            give_back()
    return layers, samples


def carry_out(task: Task, theirs: Iterable[Values], cut: StepwiseRun, stop: int, threads: int) -> LayerRepair:
    """One layer's repair; ``theirs`` are the batches of the original, ``cut`` is on its way to the layer's ``stop``.
    Where the layer is wide, BLAS takes ``threads``.
    """
    with blas_threads(threads_for(matrices.shape_of(task.node)[1], threads)):
        for their_part, my_part in zip(theirs, cut.advance(stop), strict=True):
            task.add(their_part, my_part, cut.batches)
        outcome, change = task.finish()
    if change is not None:
        cut.amend(task.site.exit, *change)
    return outcome


def task_of(
    method: Method,
    scene: RepairState,
    site: RepairLayer,
    memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
    rows: int | None = None,
) -> Task:
    """How ``method`` goes about ``site``, which reads at most so many ``rows``, if that is known."""
    if method == "stats":
        return MomentMatching(scene, site)
    refit = (WalkRefit if method == "walk" else Refit)(scene, site)
    if refit.fits(memory_limit_bytes, rows):
        return refit
    return ChannelMap(scene, site)


def _dense_rows(scene: RepairState, site: RepairLayer, sizes: Sizes, data: Data) -> int | None:
    """How many rows all samples give a Gemm at most, of which each may give several; None where that is not known."""
    shown = sizes.get(scene.pruned.graph.inputs[0].name, ())
    if data.limit is None or not data.batching.is_rows or not shown or scene.node(site.node).op != "Gemm":
        return None
    return -(-data.limit // shown[0]) * sizes[site.reads][0]
