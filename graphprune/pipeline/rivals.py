"""``--pass auto``: the passes that are sensible for a network, each tried, and the best of them kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from graphprune import passes as registry
from graphprune.analysis.language import is_language_model
from graphprune.base.progress import headed
from graphprune.data.dataset import Data
from graphprune.errors import GraphpruneError, NothingToPrune, OptionError, TargetNotReached
from graphprune.ir.export import to_proto
from graphprune.measure.ort import measure
from graphprune.pass_infra.base import Pass
from graphprune.pipeline.measured import judge
from graphprune.pipeline.rounds import Repaired, Rounds
from graphprune.pipeline.sequence import Decided, Decider
from graphprune.plan.max_drop import Drop
from graphprune.run import samples
from graphprune.run.loaded import LoadedRun
from graphprune.run.notes import NoteKind, notes_of
from graphprune.run.options import RunOptions

AUTO = "auto"

_LOG = logging.getLogger("graphprune.auto")
_SECONDS = 1.0  # of timing at most, for each rival


@dataclass(frozen=True)
class _Tried:
    """A pass that reached the target: what it decided, and how good and how fast that is, as far as it was measured."""

    name: str
    decided: Decided
    rounds: Rounds
    repaired: Repaired
    drop: Drop | None
    time: float | None

    @property
    def is_slower(self) -> bool:
        """Whether it is known to gain no time."""
        return self.time is not None and self.time >= 1

    def __str__(self) -> str:
        facts = [] if self.drop is None else [f"loses {self.drop}"]
        facts += [] if self.time is None else [f"takes {100 * self.time:.0f} % of the time"]
        return f"{self.name} {' and '.join(facts) or 'reaches it'}"


@dataclass(frozen=True)
class Rivals:
    """``with_pass`` makes the run of one pass; of those that reach what was asked for, the one that is faster and loses
    least is kept, or, where what may be lost ``is_given``, the one that leaves least.
    """

    with_pass: Callable[[Pass], Decider]
    data: Any
    is_given: bool

    def options(self, loaded: LoadedRun, options: RunOptions) -> RunOptions:
        """As given: each pass has its own."""
        return options

    def decide(self, loaded: LoadedRun, rounds: Rounds, options: RunOptions) -> Decided:
        """What the best of them decides, carried out.

        Raises
        ------
        GraphpruneError
            What the last of them says, where none reaches what was asked for.
        """
        held_out = samples.held_out(self.data, loaded.model, loaded.data.batching, options)
        names, tried, failed = sensible(loaded), list[_Tried](), dict[str, GraphpruneError]()
        for number, name in enumerate(names):
            head = f"pass {number + 1} of {len(names)}, {name}"
            run = replace(options, progress=headed(options.progress, head))
            try:
                tried.append(self._tried(name, loaded, run, held_out))
                _LOG.info("%s", tried[-1])
            except (NothingToPrune, OptionError, TargetNotReached) as error:
                failed[name] = error
                _LOG.info("%s: %s", name, error.message)
        if not tried:
            raise next((e for e in failed.values() if isinstance(e, TargetNotReached)), [*failed.values()][-1])
        best = min(tried, key=self._rank)
        rounds.fresh.extend(best.rounds.fresh)
        rounds.ready = best.repaired
        others = [*map(str, tried), *(f"{name} does not ({error.message})" for name, error in failed.items())]
        notes = notes_of(NoteKind.AUTO, [f"pass auto took {best.name}: {'; '.join(others)}"])
        return replace(best.decided, notes=(*best.decided.notes, *notes))

    def _rank(self, tried: _Tried) -> tuple[float, ...]:
        loss = 0.0 if tried.drop is None else tried.drop.value
        left = tried.decided.small.cost.macs
        return (tried.is_slower, left, loss) if self.is_given else (tried.is_slower, loss, tried.time or 1.0)

    def _tried(self, name: str, loaded: LoadedRun, options: RunOptions, held_out: Data | None) -> _Tried:
        run = self.with_pass(registry.find(name)())
        options = run.options(loaded, options)
        rounds = Rounds(loaded, options)
        decided = run.decide(loaded, rounds, options)
        small = rounds.repaired(decided.small)
        proto, model, drop, time = to_proto(small.model), loaded.model, None, None
        if held_out is not None:
            options.progress("evaluating", 0, 0)
            drop = judge(proto, loaded, held_out, options)[1]
        timing = options.timing
        if timing.measure_latency:
            options.progress("measuring", 0, 0)
            feeds, seconds = loaded.data.first(timing.batch), min(_SECONDS, timing.seconds)
            timed = measure(model.source, proto, feeds, options.runtime, folder=model.folder, min_seconds=seconds)
            time = timed.comparison.ratio
        return _Tried(name, decided, rounds, (small.model, rounds.repair), drop, time)


def sensible(loaded: LoadedRun) -> Sequence[str]:
    """The passes worth trying on a network: one of blocks, if it has any, and one or two of units."""
    has_blocks = bool(loaded.blocks)
    if loaded.data.kind == "synthetic":
        return ["filter-magnitude", *(["layer-magnitude"] if has_blocks else [])]
    kinds = {group.kind for group in loaded.analysis.groups if group.is_prunable}
    if is_language_model(loaded.model, loaded.analysis.sizes):
        return ["filter-obs", "allocate", *(["layer-angular"] if has_blocks else [])]
    units = ["amp"] if "neurons" in kinds and kinds & {"heads", "kv-heads"} else []
    return [*(["layer-cka"] if has_blocks else []), "filter-obs", *units]
