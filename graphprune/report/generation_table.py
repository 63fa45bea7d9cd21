"""Two decoders' times from token to token, and the sentences that sum them up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from graphprune.report.text import change

if TYPE_CHECKING:
    from graphprune.generation.measure import GenerationMeasurement, PointMeasurement
    from graphprune.measure.timing import Comparison

_MEMORY = "peak MiB: resident set of a process that loads one model and generates once, Python and runtime included"


def print_generation(console: Console, measurements: Sequence[GenerationMeasurement], first: str, second: str) -> None:
    """For each runtime two sentences a point, a table, and what it holds for."""
    for measurement in measurements:
        for point in measurement.points:
            for line in headlines(point):
                console.print(f"[bold]{escape(line)}[/]")
        console.print(_table(measurement, first, second))
        where, batch = measurement.environment, measurement.batch
        pairs = "-".join(map(str, sorted({point.wall.pairs for point in measurement.points})))
        console.print(
            escape(
                f"{where['runtime']} {where['provider'].removesuffix('ExecutionProvider')}, batch {batch}, "
                f"{pairs} interleaved pairs, {where['threads']} threads, {where['processor']}"
            )
        )
        console.print(_MEMORY)


def headlines(point: PointMeasurement) -> tuple[str, str]:
    """How much faster the second is per token and at the first one, with intervals."""
    place = f"prompt {point.prompt}, {point.new} new"
    token, first = point.per_token, point.first_token
    rate = f"[{1 / token.ratio_high:.2f}, {1 / token.ratio_low:.2f}]"
    time = f"[{first.ratio_low:.2f}, {first.ratio_high:.2f}]"
    return (
        f"{place}: {token.speed_up:.2f}x the tokens/s {rate}{_remark(token)}",
        f"{place}: first token in {first.ratio:.2f}x the time {time}{_remark(first)}",
    )


def generation_rows(measured: GenerationMeasurement) -> Iterator[tuple[str, str, str, str]]:
    """Both phases of each point for the table of a result: name, before, after, change."""
    for point in measured.points:
        place, first, per_second = f"{point.prompt}:{point.new}", point.first_token, point.tokens_per_s
        one, other = first.first.median_ms, first.second.median_ms
        yield f"first token ms, {place}", f"{one:.2f}", f"{other:.2f}", change(one, other)
        yield f"tokens/s, {place}", f"{per_second[0]:.1f}", f"{per_second[1]:.1f}", change(*per_second)


def _remark(times: Comparison) -> str:
    if not times.is_different:
        return ", no difference"
    return ", SLOWER" if times.ratio > 1 else ""


def _short(first: str, second: str) -> list[str]:
    """Two paths without the folders that they share."""
    one, other = (Path(each).parts for each in (first, second))
    most = min(len(one), len(other)) - 1
    common = next((place for place in range(most) if one[place] != other[place]), most)
    return [str(Path(*parts[common:])) for parts in (one, other)]


def _table(measurement: GenerationMeasurement, first: str, second: str) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False)
    table.add_column("prompt:new", no_wrap=True)
    table.add_column("model", overflow="fold")
    for column in ("first ms", "ms/token", "tokens/s", "wall s", "peak MiB"):
        table.add_column(column, justify="right", no_wrap=True)
    for point in measurement.points:
        for which, model in enumerate(_short(first, second)):
            one, token, wall = (
                (times.first, times.second)[which].median_ms
                for times in (point.first_token, point.per_token, point.wall)
            )
            peak = point.peak_bytes[which]
            table.add_row(
                f"{point.prompt}:{point.new}" if which == 0 else "",
                escape(model),
                f"{one:.2f}",
                f"{token:.3f}",
                f"{point.tokens_per_s[which]:.1f}",
                f"{wall / 1000:.2f}",
                f"{peak / 2**20:.0f}" if peak is not None else "?",
            )
    return table
