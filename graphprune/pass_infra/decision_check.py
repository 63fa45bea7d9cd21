"""What every decision of every pass must keep to: it names what the network has, once,
and leaves something of each group.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.errors import PassError
from graphprune.plan.faults import UnitFault, blocks_removed_twice, unit_faults
from graphprune.plan.plan import Decision


def check_decision(spec: str, analysis: ModelAnalysis, decision: Decision) -> None:
    """Refuse a decision of the pass ``spec`` that cannot be carried out on the network of ``analysis``.

    Raises
    ------
    PassError
        With the first thing that is wrong.
    """
    fault = next(chain(_in_itself(spec, decision), _of_blocks(analysis, decision), _of_units(analysis, decision)), None)
    if fault:
        raise PassError(
            f"pass {spec} made a decision that cannot be carried out: {fault}", "report it to the pass's author"
        )


def _in_itself(spec: str, decision: Decision) -> Iterator[str]:
    if decision.spec != spec:
        yield f"it is signed '{decision.spec}'"
    yield from (f"it removes {block.name} twice" for block in blocks_removed_twice(decision.blocks))
    yield from map(_in_words, unit_faults(decision.units))


def _in_words(fault: UnitFault) -> str:
    name = fault.units.group
    return {
        "outside": f"it removes unit {fault.index} of {name}, which has {fault.units.size}",
        "unit twice": f"it removes a unit of {name} twice",
        "nothing left": f"it leaves nothing of {name}",
        "group twice": f"it names {name} twice",
    }[fault.kind]


def _of_blocks(analysis: ModelAnalysis, decision: Decision) -> Iterator[str]:
    if not decision.blocks:
        return
    joins = {join.node: join for join in analysis.all_joins}
    for planned in decision.blocks:
        join = joins.get(planned.join)
        if join is None:
            yield f"it removes {planned.name}, and there is no join '{planned.join}'"
        elif join.block is None:
            why = f": {join.refusal.reason}" if join.refusal else ""
            yield f"it removes {planned.name}, which is no removable block{why}"
        elif (join.block.entry, join.block.exit) != (planned.entry, planned.exit):
            yield f"it removes {planned.name} between other tensors than {join.block.entry} and {join.block.exit}"


def _of_units(analysis: ModelAnalysis, decision: Decision) -> Iterator[str]:
    if not decision.units or decision.blocks:  # with blocks, groups are those of the network without them
        return
    groups = {group.name: group for group in analysis.groups}
    for planned in decision.units:
        name, group = planned.group, groups.get(planned.group)
        if group is None:
            yield f"it removes units of {name}, and there is no such group"
        elif group.freeze is not None:
            yield f"it removes units of {name}, which must stay: {group.freeze.reason}"
        elif planned.size != group.size:
            yield f"it counts {planned.size} units in {name}, which has {group.size}"
