"""Errors and exit codes. A message says what failed, where, why, and what to do next."""

from __future__ import annotations

from typing import ClassVar


class GraphpruneError(Exception):
    """Root of everything graphprune raises on purpose; ``exit_code`` is what the command returns.

    The exit codes are stable: 0 done, 1 bad input (file, model, data, option value), 2 command line not understood,
    3 nothing prunable, 4 target not reached or result not faster, 5 validation failed, 6 runtime or provider missing,
    70 internal error.
    """

    exit_code: ClassVar[int] = 70

    def __init__(self, message: str, fix: str = "") -> None:
        self.message = message
        self.fix = fix
        super().__init__(f"{message}; {fix}" if fix else message)


class InputError(GraphpruneError):
    """A file, model, data source or option value cannot be used as given."""

    exit_code = 1


class ModelError(InputError):
    """The model file cannot be read, is not valid ONNX, or holds something graphprune must not touch."""


class DataError(InputError):
    """Calibration or evaluation data does not fit the model."""


class OptionError(InputError):
    """An option, pass spec or target has an illegal value."""


class PlanError(InputError):
    """A plan file is not a plan, or was made for another model."""


class PassError(GraphpruneError):
    """A pass returned a decision that does not fit the network: a fault of the pass, not of what the user gave."""


class NothingToPrune(GraphpruneError):
    """No unit may be removed; the message says which rule refused each kind of candidate."""

    exit_code = 3


class TargetNotReached(GraphpruneError):
    """The target lies beyond what the constraints allow; names asked, reachable and the binding constraint."""

    exit_code = 4


class NotFaster(GraphpruneError):
    """The result would take as long as the original, or longer; says why and what would help. Nothing was written."""

    exit_code = 4


class ValidationFailed(GraphpruneError):
    """The rewritten model does not do what the plan says; nothing was written."""

    exit_code = 5


class RuntimeMissing(GraphpruneError):
    """No runtime, or not the one asked for, could be started."""

    exit_code = 6
