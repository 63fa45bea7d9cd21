"""What each layer of a network costs at which width, measured on the runtime;
the time of any choice of units by product.

A segment that two groups shrink is timed for each of them alone,
and its time for both is the product of the two ratios.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import isotonic_regression

from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.axes.algebra import Atom
from graphprune.base.progress import Progress
from graphprune.ir.input_origins import fed_to
from graphprune.ir.model import Model
from graphprune.latency.layers import atoms_in, layer_segments, segments_left, signature
from graphprune.measure.overhead import overhead_ms
from graphprune.measure.stopwatch import times_ms
from graphprune.measure.times_cache import Cache
from graphprune.rewrite import remove_units
from graphprune.runtime.sessions import Feeds, RuntimeOptions, open_model, run
from graphprune.segments.partition import Segment
from graphprune.segments.runner import segment_proto

_LEAST_MS = 1e-4
_AT_ONCE = 12  # sessions open at the same time
_MOST_REWRITES = 96
"""Of the network; where concatenations tie everything together, each takes one atom a little narrower."""


@dataclass
class SegmentCost:
    """``ms`` at full width; ``curves`` tell for each atom the share of it at ascending counts."""

    segment: Segment
    ms: float
    curves: dict[Atom, tuple[list[int], list[float]]] = field(default_factory=dict)

    def at(self, counts: Mapping[Atom, int]) -> float:
        """Milliseconds when so many indices of each atom stay; between measured counts on a straight line."""
        ms = self.ms
        for atom, (known, shares) in self.curves.items():
            if atom in counts:
                ms *= float(np.interp(counts[atom], known, shares))
        return ms


class CostTable:
    """The segments of one network with their times."""

    def __init__(self, costs: Sequence[SegmentCost]) -> None:
        self.costs = list(costs)
        self.whole_ms = sum(cost.ms for cost in self.costs)
        self._of: dict[Atom, list[SegmentCost]] = {}
        for cost in self.costs:
            for atom in cost.curves:
                self._of.setdefault(atom, []).append(cost)

    def share(self, counts: Mapping[Atom, int]) -> float:
        """Estimated time with so many indices of each atom left, over that of the network as it is."""
        return sum(cost.at(counts) for cost in self.costs) / self.whole_ms

    def group_share(self, atom: Atom, count: int, counts: Mapping[Atom, int]) -> float:
        """The same for those segments alone that ``atom`` shrinks, with ``count`` of it left."""
        changed = {**counts, atom: count}
        return sum(cost.at(changed) for cost in self._of.get(atom, [])) / self.whole_ms

    def without(self, nodes: Collection[str]) -> float:
        """Estimated share of time without the segments whose layer is one of ``nodes``."""
        gone = sum(cost.ms for cost in self.costs if cost.segment.nodes[0] in nodes)
        return 1 - gone / self.whole_ms


class LatencyProfiler:
    """Measures tables for one machine and one batch; what was measured before comes from ``cache``."""

    def __init__(self, feeds: Feeds, options: RuntimeOptions, cache: Cache, progress: Progress) -> None:
        self._feeds, self._options, self._progress = feeds, options, progress
        self.cache = cache

    def table(
        self, analysis: ModelAnalysis, levels: Mapping[Atom, Sequence[int]], steps: Mapping[Atom, int]
    ) -> CostTable:
        """The cost of ``analysis`` at full width, and with each atom at each of its ``levels`` (counts below its size).

        Of a network with very many groups that share segments only some levels are measured, the lowest always.
        Among counts that are multiples of the atom's entry in ``steps``, fewer never take longer:
        what says otherwise is noise.
        """
        found = layer_segments(analysis.flow)
        inside = atoms_in(analysis.model, analysis.typing, found) if levels else [frozenset[Atom]()] * len(found)
        jobs: dict[str, tuple[Model, Segment, Feeds]] = {}
        whole = self._signatures(analysis.model, found, jobs)
        narrow: dict[tuple[int, Atom, int], str] = {}
        sets = colours(levels, inside)
        levels = thinned(levels, _MOST_REWRITES // max(1, len(sets)))
        for colour in sets:
            for step in range(max(len(levels[atom]) for atom in colour)):
                counts = {atom: levels[atom][step] for atom in colour if step < len(levels[atom])}
                kept = {atom: np.arange(atom.size) < count for atom, count in counts.items()}
                model = remove_units(analysis.model, analysis.typing, kept)
                touched = [index for index, atoms in enumerate(inside) if not atoms.isdisjoint(counts)]
                left = segments_left(model, found)
                signed = self._signatures(model, [left[index] for index in touched], jobs)
                for index, name in zip(touched, signed, strict=True):
                    atom = next(atom for atom in counts if atom in inside[index])
                    narrow[index, atom, counts[atom]] = name
                self._measure(jobs)
        self._measure(jobs)
        self.cache.save()
        return CostTable(self._costs(found, whole, narrow, steps))

    def _costs(
        self,
        found: Sequence[Segment],
        whole: Sequence[str],
        narrow: Mapping[tuple[int, Atom, int], str],
        steps: Mapping[Atom, int],
    ) -> list[SegmentCost]:
        idle = overhead_ms(1, self._options)
        times = {name: max(_LEAST_MS, ms - idle) for name, ms in self.cache.times_ms.items()}
        costs = [SegmentCost(segment, times[name]) for segment, name in zip(found, whole, strict=True)]
        points: dict[tuple[int, Atom], list[tuple[int, float]]] = {}
        for (index, atom, count), name in narrow.items():
            points.setdefault((index, atom), [(atom.size, 1.0)]).append((count, times[name] / costs[index].ms))
        for (index, atom), curve in points.items():
            costs[index].curves[atom] = smoothed(dict(curve), steps.get(atom, 1))
        return costs

    def _signatures(
        self, model: Model, found: Sequence[Segment], jobs: dict[str, tuple[Model, Segment, Feeds]]
    ) -> list[str]:
        """The signature of each segment of ``model``; those without a time become jobs."""
        taps = list(dict.fromkeys(tensor for segment in found for tensor in segment.reads if tensor not in self._feeds))
        values = fed_to(model, self._feeds)
        if taps:
            session = open_model(model, self._options, taps)
            values |= zip(taps, run(session, self._feeds, taps), strict=True)
        signed = []
        for segment in found:
            entering = {name: values[name] for name in segment.reads}
            name = signature(model, segment, entering)
            signed.append(name)
            if name not in self.cache.times_ms:
                jobs.setdefault(name, (model, segment, entering))
        return signed

    def _measure(self, jobs: dict[str, tuple[Model, Segment, Feeds]]) -> None:
        """Time what is waiting, a few at once."""
        names = list(jobs)
        for start in range(0, len(names), _AT_ONCE):
            part = names[start : start + _AT_ONCE]
            self._progress("timing layers", start, len(names))
            waiting = [jobs[name] for name in part]
            models = [(segment_proto(m, segment), feeds) for m, segment, feeds in waiting]
            folder = waiting[0][0].folder
            measured = times_ms(models, self._options, folder)
            self.cache.times_ms |= {name: max(_LEAST_MS, ms) for name, ms in zip(part, measured, strict=True)}
        jobs.clear()


def smoothed(shares: Mapping[int, float], step: int) -> tuple[list[int], list[float]]:
    """Ascending counts and their shares of the full time,
    those at multiples of ``step`` (and the full one) made monotone.
    """
    counts = sorted(shares)
    even = [count for count in counts if count % step == 0 or count == counts[-1]]
    fitted = isotonic_regression([shares[count] for count in even]).x
    monotone = dict(zip(even, (float(share) / float(fitted[-1]) for share in fitted), strict=True))
    return counts, [monotone.get(count, shares[count]) for count in counts]


def thinned(levels: Mapping[Atom, Sequence[int]], most: int) -> dict[Atom, list[int]]:
    """At most so many (one at least) of the descending counts of each atom, evenly, the lowest among them."""
    found = {}
    for atom, counts in levels.items():
        places = np.linspace(len(counts) - 1, 0, min(max(1, most), len(counts))).round().astype(int)
        found[atom] = [counts[place] for place in places[::-1]]
    return found


def colours(levels: Mapping[Atom, Sequence[int]], inside: Sequence[frozenset[Atom]]) -> list[list[Atom]]:
    """The atoms in sets of which no two shrink the same segment, so that each set can shrink at once."""
    rivals: dict[Atom, set[Atom]] = {atom: set() for atom in levels if levels[atom]}
    for atoms in inside:
        present = [atom for atom in rivals if atom in atoms]
        for atom in present:
            rivals[atom].update(other for other in present if other is not atom)
    sets: list[list[Atom]] = []
    for atom, others in rivals.items():
        for each in sets:
            if others.isdisjoint(each):
                each.append(atom)
                break
        else:
            sets.append([atom])
    return sets
