"""What may be done between passes: called with each decision, the network that it left, and the seconds it took."""

from __future__ import annotations

import logging
from pathlib import Path

from graphprune.analysis.model_analysis import ModelAnalysis
from graphprune.errors import InputError
from graphprune.ir import export
from graphprune.plan.plan import Decision
from graphprune.validation.structure import check_structure

_LOG = logging.getLogger("graphprune.passes")


def verify(decision: Decision, analysis: ModelAnalysis, seconds: float) -> None:
    """Look whether the graph still hangs together.

    Raises
    ------
    ValidationFailed
        It does not.
    """
    check_structure(analysis.model, f"pass {decision.spec}")


def trace(decision: Decision, analysis: ModelAnalysis, seconds: float) -> None:
    """Log what the pass did, and how long it took."""
    _LOG.info(
        "pass %s: %d blocks and %d units gone, %d MACs and %d parameters left, %.1f s%s",
        decision.spec,
        len(decision.blocks),
        sum(len(units.removed) for units in decision.units),
        analysis.cost.macs,
        analysis.cost.params,
        seconds,
        f"; {decision.limit}" if decision.limit else "",
    )


class Dump:
    """Writes the network after each decision into ``folder``: ``01-layer-cka.onnx``, ``02-filter-obs.onnx`` ..."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written = 0

    def __call__(self, decision: Decision, analysis: ModelAnalysis, seconds: float) -> None:
        """Write the next file.

        Raises
        ------
        InputError
            The folder cannot be made, or not be written to.
        """
        self._written += 1
        name = decision.spec.partition("{")[0]
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make the folder {self._folder}: {error.strerror}", "choose another") from None
        export.write(analysis.model, self._folder / f"{self._written:02}-{name}.onnx")
