"""Options of a command that belong together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Command = Callable[..., Any]


def together(command: Command, *decorators: Callable[[Command], Command]) -> Command:
    """The command with all of these, in the order in which its help is to list them."""
    for decorate in reversed(decorators):
        command = decorate(command)
    return command
