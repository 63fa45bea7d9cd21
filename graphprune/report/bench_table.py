"""Two models' times on one runtime or several, and the sentence that sums them up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from graphprune.measure.runtime import Measurement
    from graphprune.measure.timing import Comparison, Latency


def print_measurements(console: Console, measurements: Sequence[Measurement], first: str, second: str) -> None:
    """A headline for each runtime, one table of all times, what they hold for."""
    for measurement in measurements:
        console.print(f"[bold]{headline(measurement)}[/]")
    names = [_place(measurement) for measurement in measurements]
    table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False)
    if len(measurements) > 1:
        table.add_column("runtime", overflow="fold")
    table.add_column("model", overflow="fold")
    for column in ("median ms", "p10", "p90"):
        table.add_column(column, justify="right", no_wrap=True)
    on_device = any(measurement.device for measurement in measurements)
    if on_device:
        table.add_column("on device", justify="right", no_wrap=True)
    for name, measurement in zip(names, measurements, strict=True):
        for which, model in enumerate((first, second)):
            latency = _sides(measurement.comparison)[which]
            cells = [escape(name if which == 0 else "")] if len(measurements) > 1 else []
            cells += [escape(model), *(f"{ms:.3f}" for ms in (latency.median_ms, latency.p10_ms, latency.p90_ms))]
            if on_device:
                cells.append(f"{_sides(measurement.device)[which].median_ms:.3f}" if measurement.device else "")
            table.add_row(*cells)
    console.print(table)
    for name, measurement in zip(names, measurements, strict=True):
        where = measurement.environment
        label = f"{name}: " if len(measurements) > 1 else ""
        gpu = f", {where['gpu']}" if "gpu" in where else ""
        console.print(
            f"{escape(label)}{measurement.comparison.pairs} interleaved pairs, "
            f"{where['threads']} threads, {where['processor']}{gpu}"
        )
        for note in _notes(measurement):
            console.print(f"[bold yellow]note:[/] {escape(note)}")


def headline(measurement: Measurement) -> str:
    """How much faster the second is, end to end, with interval, runtime and batch; and on the device."""
    text = f"{verdict(measurement.comparison)} on {_place(measurement)}, batch {measurement.batch}"
    if measurement.device:
        text += f"; on the device alone {verdict(measurement.device)}"
    return escape(text)


def verdict(times: Comparison) -> str:
    """How much faster the second is, with its interval; or that nothing can be told, or that it is slower."""
    interval = f"[{1 / times.ratio_high:.2f}, {1 / times.ratio_low:.2f}]"
    if not times.is_different:
        return f"no difference in time: {times.speed_up:.2f}x {interval}"
    if times.ratio < 1:
        return f"{times.speed_up:.2f}x faster {interval}"
    return f"{times.ratio:.2f}x SLOWER [{times.ratio_low:.2f}, {times.ratio_high:.2f}]"


def _place(measurement: Measurement) -> str:
    where = measurement.environment
    return f"{where['runtime']} {where['provider'].removesuffix('ExecutionProvider')}"


def _sides(times: Comparison) -> tuple[Latency, Latency]:
    return times.first, times.second


def _notes(measurement: Measurement) -> list[str]:
    """Sizes that were picked, and nodes that the provider asked for left to another one."""
    wanted, notes = measurement.environment["provider"], [*filter(None, [measurement.environment.get("sizes")])]
    for which in ("first", "second"):
        nodes = measurement.environment.get(which, {}).get("nodes", {})
        others = {name: count for name, count in nodes.items() if name != wanted and count}
        if others:
            left = ", ".join(f"{count} on {name}" for name, count in others.items())
            notes.append(
                f"the {which} model does not run on {wanted} alone: {nodes.get(wanted, 0)} nodes there, {left}"
            )
    return notes
