"""Which units to remove so that as many filters go as a block has: the same share of every layer, and then some.

"Pruning Everything, Everywhere, All at Once" (IJCNN 2025). A block with N of the network's F convolution filters
leaves; of every prunable layer with n filters go ``round(N n / F)``,
and then one at a time from layers drawn at random until N are gone. The authors' loop waits for exactly N: where
rounding has taken more, it strips every layer to one filter. This one ends at N or more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from graphprune.analysis.groups import Group
from graphprune.axes.algebra import Atom
from graphprune.ir.bodies import all_nodes
from graphprune.ir.model import Model
from graphprune.ir.quantised import weight_dims, weight_place
from graphprune.plan.selection import Candidate

_FILTER_AXIS = {"Conv": 0, "ConvTranspose": 1}


def filter_count(model: Model, nodes: Iterable[str] | None = None) -> int:
    """Filters of all convolutions, or of those among ``nodes``."""
    wanted = None if nodes is None else set(nodes)
    return sum(
        dims[_FILTER_AXIS[node.op]] * (1 if node.op == "Conv" else node.attrs.get("group", 1))
        for node in all_nodes(model.graph)
        if node.op in _FILTER_AXIS
        and (wanted is None or node.name in wanted)
        and (dims := weight_dims(node, 1)) is not None
    )


def filters_per_unit(model: Model, group: Group) -> int:
    """How many convolution filters leave with one unit: a depthwise convolution behind a layer loses one, too."""
    readers: dict[tuple[str, int], list[gs.Node]] = defaultdict(list)
    for node in all_nodes(model.graph):
        place = weight_place(node, 1) if node.op in _FILTER_AXIS else None
        if place is not None:
            readers[place[0].name, place[1]].append(node)
    return sum(
        _FILTER_AXIS[node.op] == use.axis for use in group.uses for node in readers.get((use.node, use.operand), ())
    )


def matched_units(
    candidates: Sequence[Candidate], weights: Sequence[int], wanted: int, share: float, random: np.random.Generator
) -> dict[Atom, NDArray[np.intp]] | None:
    """The units of each group that go, the lowest scores first, or None where fewer than ``wanted`` filters can go.

    A unit of the i-th candidate counts for ``weights[i]`` filters. Chunks of a candidate go whole,
    as its alignment wants it.
    """
    chunks = [candidate.chunks() for candidate in candidates]
    taken = [
        int(np.searchsorted(np.cumsum([len(chunk) for chunk in own]), round(share * len(candidate.scores)), "right"))
        for candidate, own in zip(candidates, chunks, strict=True)
    ]
    while _gone(chunks, taken, weights) < wanted:
        open_groups = [index for index, own in enumerate(chunks) if taken[index] < len(own)]
        if not open_groups:
            return None
        taken[int(random.choice(open_groups))] += 1
    return {
        candidate.group.atom: np.sort(np.concatenate(own[:count]))
        for candidate, own, count in zip(candidates, chunks, taken, strict=True)
        if count
    }


def _gone(chunks: Sequence[list[NDArray[np.intp]]], taken: Sequence[int], weights: Sequence[int]) -> int:
    counts = (sum(map(len, own[:count])) for own, count in zip(chunks, taken, strict=True))
    return sum(count * weight for count, weight in zip(counts, weights, strict=True))
