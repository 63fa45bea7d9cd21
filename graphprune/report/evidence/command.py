"""How to make a run again: what the user typed, or the Python call that does the same;
and under which circumstances.
"""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Mapping
from dataclasses import fields
from pathlib import PurePath
from typing import Any

import numpy as np
import onnx

import graphprune
from graphprune.report.result import Result
from graphprune.run.loaded import LoadedRun
from graphprune.run.options import DataOptions, RecoveryOptions, RunOptions, TimingOptions, WorkerOptions
from graphprune.text.options import TextOptions

Group = DataOptions | TextOptions | TimingOptions | RecoveryOptions | WorkerOptions

_NOT_SAID = {"progress", "command", "between"}


def typed(options: RunOptions) -> str:
    """The command line, with the seed if it was left out: a default may change."""
    words = {word.partition("=")[0].replace("_", "-") for word in shlex.split(options.command)}
    return options.command if "--seed" in words else f"{options.command} --seed {options.seed}"


def python_call(function: str, arguments: Mapping[str, Any], options: RunOptions) -> str:
    """The call of ``graphprune.prune`` or ``apply``; what was given as an object in memory is shown as an ellipsis."""
    lines = ["import graphprune", "", f"graphprune.{function}("]
    lines += [f"    {name}={_shown(value)}," for name, value in arguments.items() if value not in (None, False)]
    return "\n".join([*lines, f"    options={_options(options)},", ")"])


def _options(options: RunOptions | Group) -> str:
    """The options that are not as by default, and the seed, in the groups that they are given in."""
    default, words = type(options)(), []
    for each in fields(options):
        value = getattr(options, each.name)
        if each.name in _NOT_SAID or (value == getattr(default, each.name) and each.name != "seed"):
            continue
        words.append(f"{each.name}={_options(value) if isinstance(value, Group) else _shown(value)}")
    return f"graphprune.{type(options).__name__}({', '.join(words)})"


def _shown(value: Any) -> str:
    """Python that makes ``value`` again, where there is some."""
    if isinstance(value, PurePath):
        return repr(os.fspath(value))
    if isinstance(value, list | tuple):
        parts = ", ".join(map(_shown, value))
        return f"[{parts}]" if isinstance(value, list) else f"({parts}{',' if len(value) == 1 else ''})"
    if isinstance(value, str | int | float | bool | None):
        return repr(value)
    if type(value) is dict and all(isinstance(part, tuple | int | None) for part in value.values()):
        return repr(value)
    is_public = type(value).__name__ in graphprune.__all__
    return f"graphprune.{value!r}" if is_public else "..."


def facts(result: Result, loaded: LoadedRun, options: RunOptions) -> dict[str, str]:
    """The circumstances of a run, as label and text."""
    data = loaded.data
    rows = {
        "model": result.source,
        "sha256": result.plan.model_sha256,
        "data": f"{data.origin} ({data.kind}{f', at most {data.limit:,} samples' if data.limit else ''})",
        "seed": str(options.seed),
        "tool": f"graphprune {graphprune.__version__}",
    }
    if result.output is not None:
        rows["output"] = str(result.output)
    if result.measurement is not None:
        rows |= {
            name: str(value) for name, value in result.measurement.environment.items() if not isinstance(value, dict)
        }
    else:
        rows |= {"provider": options.runtime.provider_name, "python": platform.python_version()}
    rows |= {"numpy": np.__version__, "onnx": onnx.__version__, "system": platform.platform(terse=True)}
    if result.seconds:
        rows["run time"] = f"{result.seconds:.1f} s"
    return rows
