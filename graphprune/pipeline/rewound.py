"""A pruned network as it was at an earlier time of the unpruned one's training, cut again where units are gone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from graphprune.errors import PlanError
from graphprune.ir.model import Model, constant_dims, constants
from graphprune.pipeline.apply import apply
from graphprune.run.options import RecoveryOptions, RunOptions, TimingOptions


def rewound_by_plan(pruned: Model, plan: Path, earlier: Path, data: Any, options: RunOptions) -> Model:
    """``earlier``, a file of the network that ``pruned`` was made from, cut by the ``plan`` that made it, and proved.

    Raises
    ------
    PlanError
        The plan does not fit that file, or makes other sizes of it than ``pruned`` has.
    ValidationFailed
        The cut file does not compute what the masked one does.
    """
    alone = replace(options, recovery=RecoveryOptions(repair=()), timing=TimingOptions(measure_latency=False))
    found = apply(earlier, plan, data, allow_other_model=True, options=alone).model
    assert found is not None  # a plan carried out makes one
    sizes = {constant.name: tuple(constant_dims(constant)) for constant in constants(found.graph)}
    for constant in constants(pruned.graph):
        dims = tuple(constant_dims(constant))
        if sizes.get(constant.name, dims) != dims:
            raise PlanError(
                f"by the plan '{constant.name}' is {list(sizes[constant.name])}, in the pruned network {list(dims)}",
                "give the plan that the pruned network was made by",
            )
    return found
