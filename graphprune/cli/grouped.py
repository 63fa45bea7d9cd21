"""Help in groups: options that belong together stand under one heading."""

from __future__ import annotations

from collections.abc import Callable

import click

from graphprune.cli.together import Command

_GROUP = "graphprune_group"
_OTHERS = "Options"


def grouped(title: str) -> Callable[[Callable[[Command], Command]], Callable[[Command], Command]]:
    """Put what a function adds to a command under ``title``, but for what has a heading already."""

    def wrap(add: Callable[[Command], Command]) -> Callable[[Command], Command]:
        def added(command: Command) -> Command:
            before = len(getattr(command, "__click_params__", ()))
            command = add(command)
            for parameter in getattr(command, "__click_params__", ())[before:]:
                if not hasattr(parameter, _GROUP):
                    setattr(parameter, _GROUP, title)
            return command

        added.__doc__ = add.__doc__
        return added

    return wrap


class GroupedCommand(click.Command):
    """A command whose help has a section for each group of options, in the order in which they first come."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The sections; what is in no group comes first."""
        sections: dict[str, list[tuple[str, str]]] = {_OTHERS: []}
        for parameter in self.get_params(ctx):
            record = None if isinstance(parameter, click.Argument) else parameter.get_help_record(ctx)
            if record is not None:
                sections.setdefault(getattr(parameter, _GROUP, _OTHERS), []).append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
