"""What follows a removal: it is proved, and then repaired."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from graphprune import model as models
from graphprune.anatomy import Anatomy
from graphprune.data import Data
from graphprune.errors import OptionError
from graphprune.evaluate import Evaluation
from graphprune.oracle import Removal
from graphprune.repair.outcome import RepairReport
from graphprune.repair.stage import DEFAULT, Method, repair
from graphprune.subject import RunOptions, Subject, look_at
from graphprune.validate import Validation, check_normalisation, check_written, validate

Judge = Callable[[Path], Evaluation | None]


@dataclass(frozen=True)
class Recovered:
    """The network after its repair, and how that went; the file written holds it. ``unrepaired`` is how good it was before."""

    anatomy: Anatomy
    validation: Validation
    repair: RepairReport | None = None
    unrepaired: Evaluation | None = None


def recover(
    subject: Subject, earlier: Sequence[Removal], steps: Sequence[Removal], small: Anatomy, written: Path,
    options: RunOptions, judge: Judge,
) -> Recovered:  # fmt: skip
    """Write ``small`` to ``written``, compare it with its oracle, and repair it there.

    ``steps`` led to ``small``, after those taken ``earlier`` and validated then.  ``judge`` evaluates a file.

    Raises
    ------
    ValidationFailed
        It does not compute what it should, or does not run after the repair.
    """
    data, runtime = subject.data, options.runtime
    options.progress("writing", 0, 0)
    models.write(small.model, written)
    options.progress("validating", 0, 0)
    if not earlier:
        check_normalisation(subject.model, data, options.batch, runtime)
    validation = validate(steps or [Removal(small.model)], written, data, options.batch, runtime)
    methods = repairs(options, data)
    every = (*earlier, *steps)
    if not methods or not every:
        return Recovered(small, validation)
    unrepaired = judge(written)
    repaired, report = repair(
        subject.model, small.model, every, small.sizes, data, options.batch, methods, runtime, options.progress
    )
    models.write(repaired, written)
    check_written(written, small.model, data.first(1), runtime)
    return Recovered(look_at(repaired, subject.feeds, runtime), validation, report, unrepaired)


def repairs(options: RunOptions, data: Data) -> tuple[Method, ...]:
    """What was asked for; by default what serves best, if there are real samples.

    Raises
    ------
    OptionError
        A repair was asked for, and there is no data.
    """
    if options.repair is None:
        return () if data.kind == "synthetic" else DEFAULT
    if options.repair and data.kind == "synthetic":
        raise OptionError("a repair fits weights to samples, and there are none", "add --data, or --repair none")
    return options.repair
