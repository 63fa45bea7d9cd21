"""How many blocks each stage of a network may lose.

The papers never take the first block of a stage (it changes resolution or width) and leave two blocks in each. Both
rules are for CNNs; a transformer is one long stage of equal layers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from graphprune.analysis.blocks import Block, Join
from graphprune.decoder.interface import decoder_interface
from graphprune.errors import NothingToPrune, OptionError
from graphprune.ir.bodies import all_nodes
from graphprune.ir.model import Model

_CNN_FLOOR = 2


@dataclass(frozen=True)
class Allowance:
    """The candidates, in execution order, and how many of them each stage may still lose.

    ``holders`` are the joins of the blocks that hold a part of a decoder's cache: one of them stays, for positions are
    counted by what is in it. No more than ``limit`` of the candidates go, if there is one.
    """

    candidates: tuple[Block, ...]
    stage_of: dict[str, int]
    room: dict[int, int]
    rules: str
    holders: frozenset[str] = frozenset()
    limit: int | None = None

    def at_most(self, limit: int | None, spec: str) -> Allowance:
        """The same with a limit, which an option of the pass ``spec`` sets."""
        if limit is None or limit >= len(self.candidates):
            return self
        said = f"the limit of {limit} that {spec} sets"
        return replace(self, limit=limit, rules=f"{self.rules} and {said}")

    def allowed(self, removed: frozenset[str]) -> list[Block]:
        """Candidates that may go next, ``removed`` (join names) being gone."""
        if self.limit is not None and sum(block.join in removed for block in self.candidates) >= self.limit:
            return []
        lost = Counter(self.stage_of[join] for join in removed)
        left = self.holders - removed
        return [
            block
            for block in self.candidates
            if block.join not in removed
            and lost[self.stage_of[block.join]] + len(block.pieces) <= self.room[self.stage_of[block.join]]
            and not (left and left <= _joins(block))
        ]

    def most(self, removed: frozenset[str], weight: dict[str, int]) -> list[Block]:
        """The heaviest further blocks that could all go, by ``weight`` of their joins."""
        chosen: list[Block] = []
        gone = removed
        while allowed := self.allowed(gone):
            heaviest = max(allowed, key=lambda block: weight[block.join])
            chosen.append(heaviest)
            gone |= _joins(heaviest)
        return chosen


def _joins(block: Block) -> frozenset[str]:
    return frozenset(piece.join for piece in block.pieces)


def allowance(
    model: Model, joins: Sequence[Join], floor: int | None, skip_first: bool | None, exclude: Sequence[str] = ()
) -> Allowance:
    """Apply the rules; ``None`` means on for a CNN (floor 2), off otherwise.

    Raises
    ------
    NothingToPrune
        No block is left to choose from; the message counts the refusals by rule.
    OptionError
        A pattern of ``exclude`` names no block.
    """
    convolves = is_cnn(model, joins)
    if floor is not None and floor < 0:
        raise OptionError(f"the floor is {floor} blocks per stage", "write 0 or more")
    floor = (_CNN_FLOOR if convolves else 0) if floor is None else floor
    skip_first = convolves if skip_first is None else skip_first
    blocks = [join.block for join in joins if join.block]
    for pattern in exclude:
        if not any(fnmatchcase(block.name, pattern) for block in blocks):
            raise OptionError(f"no block is named '{pattern}'", "graphprune inspect lists the names")
    members: dict[int, list[Join]] = {}
    for join in joins:
        if join.stage >= 0:
            members.setdefault(join.stage, []).append(join)
    holders = _holders(model, joins)
    last_holder = holders if len(holders) == 1 else frozenset()
    candidates = [
        join.block
        for stage in members.values()
        for position, join in enumerate(stage)
        if join.block
        and join.node not in last_holder
        and not (skip_first and position == 0)
        and not any(fnmatchcase(join.block.name, pattern) for pattern in exclude)
    ]
    room = {number: max(0, len(stage) - floor) for number, stage in members.items()}
    stage_of = {join.node: join.stage for join in joins}
    if not any(room[stage_of[block.join]] for block in candidates):
        raise NothingToPrune(
            _nothing(joins, floor, skip_first, exclude), "graphprune inspect shows every join and its reason"
        )
    rules = [f"the floor of {floor} blocks per stage"] if floor else []
    rules += ["the rule that the first block of a stage stays"] if skip_first else []
    rules += [f"the exclusion of {', '.join(exclude)}"] if exclude else []
    rules += ["the rule that one layer keeps its cache"] if holders else []
    said = " and ".join(rules) or "the number of removable blocks"
    return Allowance(tuple(candidates), stage_of, room, said, holders)


def _holders(model: Model, joins: Sequence[Join]) -> frozenset[str]:
    """Joins of the blocks with a cache, if there is none elsewhere."""
    decoder = decoder_interface(model)
    held = [tensor for join in joins if join.block for tensor in join.block.cache]
    is_all = decoder is not None and len(held) == len(decoder.cache)
    return frozenset(join.node for join in joins if join.block and join.block.cache) if is_all else frozenset()


def is_cnn(model: Model, joins: Sequence[Join]) -> bool:
    """Whether most removable blocks hold a convolution."""
    ops = {node.name: node.op for node in all_nodes(model.graph)}
    blocks = [join.block for join in joins if join.block]
    return 2 * sum(any(ops[name] == "Conv" for name in block.layers) for block in blocks) > len(blocks)


def _nothing(joins: Sequence[Join], floor: int, skip_first: bool, exclude: Sequence[str]) -> str:
    if not joins:
        return "no residual block can be removed: the model has no residual connection"
    refused = Counter(join.refusal.rule for join in joins if join.refusal)
    free = sum(join.block is not None for join in joins)
    parts = [f"{count} {rule}" for rule, count in refused.most_common()]
    if free:
        first = ", first of a stage stays" if skip_first else ""
        excluded = f", exclusion of {', '.join(exclude)}" if exclude else ""
        parts.append(f"{free} kept by the stage rules (floor {floor}{first}{excluded})")
    return f"no residual block can be removed: of {len(joins)} joins, {', '.join(parts)}"
