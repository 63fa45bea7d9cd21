"""``--config FILE.toml``: the options of a command in a file; what the command line says comes first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from graphprune.base.did_you_mean import meant
from graphprune.errors import InputError, OptionError


def config_option() -> click.Option:
    """Read before all others, so that these find in it what the command line leaves out."""
    return click.Option(
        ["--config"],
        type=click.Path(path_type=Path),
        metavar="FILE.toml",
        is_eager=True,
        expose_value=False,
        callback=_take,
        help="Take options from a file, by their names: target = 'flops=0.8', pass = ['layer-cka']; model = 'net.onnx' "
        "is the argument. In a table with the command's name, if there is one. The command line comes first.",
    )


def _take(ctx: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    if path is not None and not ctx.resilient_parsing:
        ctx.default_map = {**(ctx.default_map or {}), **settings(path, ctx.command)}


def settings(path: Path, command: click.Command) -> dict[str, Any]:
    """The values of the file by the command's parameters.

    Raises
    ------
    InputError
        The file cannot be read, or is no TOML.
    OptionError
        An option is unknown, or its value is of the wrong kind.
    """
    import tomllib

    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the configuration {path}: {error.strerror}", "check the path") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no TOML: {error}", "write name = value, texts in quotes") from None
    own = content.get(command.name or "")
    content = own if isinstance(own, dict) else content
    known = {name: parameter for parameter in command.params for name in _names(parameter)}
    found = {}
    for key, value in content.items():
        name = key.replace("_", "-")
        parameter = known.get(name)
        if parameter is None or parameter.name is None:
            raise OptionError(
                f"{path.name}: {command.name} has no option '{key}'{meant(name, known)}",
                f"graphprune {command.name} --help lists them",
            )
        found[parameter.name] = _value(parameter, value, f"{path.name}: {key}")
    return found


def _names(parameter: click.Parameter) -> list[str]:
    """What a parameter is called in the file."""
    if isinstance(parameter, click.Argument):
        return [str(parameter.name)]
    return [name.removeprefix("--") for name in parameter.opts if name.startswith("--") and name != "--config"]


def _value(parameter: click.Parameter, value: Any, where: str) -> Any:
    """As the command line would give it: texts, but for switches.

    Raises
    ------
    OptionError
        It is of the wrong kind.
    """
    is_switch = isinstance(parameter, click.Option) and parameter.is_flag
    takes_many = parameter.multiple or parameter.nargs == -1
    if is_switch != isinstance(value, bool):
        raise OptionError(f"{where} is {value!r}", "write true or false" if is_switch else "write a text or a number")
    if is_switch:
        return value
    if (isinstance(value, list) and not takes_many) or isinstance(value, dict):
        raise OptionError(f"{where} is {value!r}", "write one value")
    parts = [str(each) for each in value] if isinstance(value, list) else [str(value)]
    return tuple(parts) if takes_many else parts[0]
