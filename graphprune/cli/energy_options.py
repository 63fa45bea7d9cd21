"""Options on the energy of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from graphprune.cli.together import Command, together

if TYPE_CHECKING:
    from graphprune.pipeline.training_energy import Meter


def energy_options(command: Command) -> Command:
    """Whether it is measured, and what the formula beside it is made of."""
    return together(
        command,
        click.option("--energy", is_flag=True, help="Energy, CO2 and cost: by codecarbon, and power x time x grid."),
        click.option("--country", default="USA", show_default=True, metavar="ISO", help="Energy mix, three letters."),
        click.option(
            "--watts",
            type=click.FloatRange(0, min_open=True),
            help="Rated power of the hardware.  [default: the processor's, as codecarbon has it]",
        ),
        click.option("--price", type=click.FloatRange(0), help="Of a kWh, in any currency."),
    )


def energy_settings(settings: dict[str, Any]) -> Meter | None:
    """Take these options out of ``settings``; None: nothing is to be measured.

    Raises
    ------
    UsageError
        There are figures for an energy that is not asked for.
    """
    from graphprune.pipeline.training_energy import Meter

    is_asked, country, watts, price = (settings.pop(name) for name in ("energy", "country", "watts", "price"))
    if not is_asked and (watts is not None or price is not None):
        raise click.UsageError("--watts and --price are for --energy")
    return Meter(country, watts, price) if is_asked else None
