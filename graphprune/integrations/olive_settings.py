"""What a workflow of Olive may say to a pass: the pass's own options, and what the command line calls its options."""

from __future__ import annotations

import types
import typing
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from graphprune.base import extras
from graphprune.base.option_text import default
from graphprune.errors import GraphpruneError, OptionError

if TYPE_CHECKING:
    from graphprune.pass_infra.base import Pass
    from graphprune.run.options import RunOptions

SEARCHED_TARGETS = ("flops=0.9", "flops=0.8", "flops=0.7", "flops=0.6", "flops=0.5")


def parameters(kind: type[Pass]) -> dict[str, Any]:
    """The ``PassConfigParam`` of every setting, in the order in which they are listed.

    Raises
    ------
    OptionError
        A third-party pass has an option with the name of a setting.
    """
    param = extras.olive("passes.pass_config").PassConfigParam
    hints = typing.get_type_hints(kind)
    options = {
        field.name: param(
            type_=_plain(hints[field.name]),
            default_value=list(value) if isinstance(value := default(field), tuple) else value,
            description=str(field.metadata.get("help", "")),
        )
        for field in fields(kind)
    }
    settings = _settings(param)
    if clash := sorted(options.keys() & settings.keys()):
        raise OptionError(f"pass {kind.name} has an option {clash[0]}, a setting of every pass here", "rename it")
    return options | settings


def _settings(param: Any) -> dict[str, Any]:
    categorical = extras.olive("search.search_parameter").Categorical
    path = extras.olive("common.config_utils").ParamCategory.PATH
    data_config = extras.olive("data.config").DataConfig

    def setting(type_: Any, value: Any, description: str, **more: Any) -> Any:
        return param(type_=type_, default_value=value, description=description, **more)

    return {
        "target": setting(
            str,
            None,
            "What to reach, as --target: flops=0.5 is the share left. Default: flops=0.8, or the ratio of the pass.",
            search_defaults=categorical(list(SEARCHED_TARGETS)),
        ),
        "align": setting(
            int | str, "auto", "Keep widths in multiples of this; auto: what the runtime is measured to like."
        ),
        "repair": setting(
            str, None, "none, stats, ridge, stats,ridge or walk. Default: stats,ridge where there are samples."
        ),
        "data_config": setting(data_config | dict, None, "Calibration samples; labels are used where needed."),
        "data": setting(str, None, "The same as a path, as --data: .npz, script.py:function ...", category=path),
        "num_samples": setting(int, 512, "Samples to use."),
        "require_data": setting(bool, False, "Fail instead of making up inputs."),
        "allow_made_up_data": setting(bool, False, "Score on made-up inputs where there are no samples."),
        "input_batch_axis": setting(dict, None, "Which axis of an input counts samples (null: none), by input name."),
        "input_shapes": setting(dict, None, "Sizes of made-up inputs, a list by input name."),
        "val_range": setting(dict, None, "Lowest and highest value of made-up inputs, by input name."),
        "batch_size": setting(int, 32, "Samples per run when scoring and validating."),
        "seed": setting(int, 0, "Seed of everything random."),
        "threads": setting(int, 0, "Threads; 0 = every core allowed."),
        "jobs": setting(int, None, "Processes that score candidates; -1: one per core. Default: this one."),
        "bench": setting(bool, True, "Time the result against the model given."),
        "bench_batch_size": setting(int, 1, "Batch size of the timing."),
        "bench_seconds": setting(float, 2.0, "Seconds of timing, at least."),
        "allow_slower": setting(bool, False, "Keep a result that is not faster."),
        "stop_on_failure": setting(
            bool,
            True,
            "Whether a target out of reach, or nothing to prune, ends the workflow; in a search it does not.",
            search_defaults=categorical([False]),  # a single choice: what holds in a search
        ),
    }


def _plain(hint: Any) -> Any:
    """An option's type as JSON has it."""
    if get_origin(hint) in (Union, types.UnionType):
        return _plain(get_args(hint)[0])  # the other one is None, and every parameter here may be that
    if get_origin(hint) is tuple:
        return list[str]
    return str if hint is Path else hint


def check(value: Any, info: Any) -> Any:
    """A validator of pydantic: the value itself, if it can be what the setting ``info.field_name`` says.

    Raises
    ------
    ValueError
        The sentence of the OptionError it would end in.
    """
    if isinstance(value, str | int | dict):  # and not None, nor something to search through
        try:
            CHECKED[info.field_name](value)
        except GraphpruneError as error:
            raise ValueError(str(error)) from None
    return value


def pass_of(kind: type[Pass], settings: dict[str, Any]) -> Pass:
    """The pass with its options."""
    values = {field.name: settings[field.name] for field in fields(kind)}
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def run_options(settings: dict[str, Any], accelerator: Any) -> RunOptions:
    """Everything else; the provider is the accelerator's."""
    from graphprune.run.options import DataOptions, RecoveryOptions, RunOptions, TimingOptions, WorkerOptions
    from graphprune.runtime.sessions import RuntimeOptions

    return RunOptions(
        seed=settings["seed"],
        batch=settings["batch_size"],
        align=_align(settings["align"]),
        data=DataOptions(
            samples=settings["num_samples"],
            batch_axes=_axes(settings["input_batch_axis"] or {}),
            shapes=_shapes(settings["input_shapes"] or {}),
            ranges=_ranges(settings["val_range"] or {}),
            require_data=settings["require_data"],
            allow_made_up=settings["allow_made_up_data"],
        ),
        timing=TimingOptions(
            batch=settings["bench_batch_size"],
            seconds=settings["bench_seconds"],
            measure_latency=settings["bench"],
            allow_slower=settings["allow_slower"],
        ),
        recovery=RecoveryOptions(repair=None if settings["repair"] is None else _repair(settings["repair"])),
        workers=WorkerOptions(settings["jobs"]),
        runtime=RuntimeOptions(str(accelerator.execution_provider or "cpu"), settings["threads"]),
    )


def _target(text: Any) -> Any:
    from graphprune.plan.target import Target

    return Target.parse(str(text))


def _repair(text: Any) -> Any:
    from graphprune.repair.stage import parse_methods

    return parse_methods(str(text))


def _align(value: Any) -> int | Literal["auto"]:
    if value == "auto":
        return "auto"
    if not str(value).isdecimal() or int(value) < 1:
        raise OptionError(f"align is '{value}'", "give a whole number of at least 1, or auto")
    return int(value)


def _axes(value: Any) -> dict[str, int | None]:
    for name, axis in dict(value).items():
        if axis is not None and (not isinstance(axis, int) or axis < 0):
            raise OptionError(f"the batch axis of '{name}' is {axis}", 'write for example {"state": 1} or {"sr": null}')
    return dict(value)


def _shapes(value: Any) -> dict[str, tuple[int, ...]]:
    for name, sizes in dict(value).items():
        if not isinstance(sizes, list) or not all(isinstance(size, int) and size > 0 for size in sizes):
            raise OptionError(f"the shape of '{name}' is {sizes}", 'write for example {"x": [1, 3, 224, 224]}')
    return {name: tuple(sizes) for name, sizes in value.items()}


def _ranges(value: Any) -> dict[str, tuple[float, float]]:
    for name, pair in dict(value).items():
        is_pair = isinstance(pair, list) and len(pair) == 2 and all(isinstance(each, int | float) for each in pair)
        if not is_pair or pair[0] > pair[1]:
            raise OptionError(f"the range of '{name}' is {pair}", 'write for example {"ids": [0, 100]}')
    return {name: (float(pair[0]), float(pair[1])) for name, pair in value.items()}


CHECKED = {
    "target": _target,
    "align": _align,
    "repair": _repair,
    "input_batch_axis": _axes,
    "input_shapes": _shapes,
    "val_range": _ranges,
}
