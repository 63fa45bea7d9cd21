"""The page of several results: what each loses against time, MACs and size, and how to take each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import graphprune
from graphprune.base import extras
from graphprune.errors import InputError
from graphprune.ir.output_files import staged
from graphprune.report.candidates import CandidatesFile
from graphprune.report.html.charts import Point, pareto_svg
from graphprune.report.html.style import STYLE

_LOST = {"top1": "points of top-1 lost", "agreement": "points of agreement lost", "error": "error of the outputs, %"}


def write_candidates_page(path: Path, found: CandidatesFile) -> None:
    """Write the page as a whole or not at all.

    Raises
    ------
    InputError
        It cannot be written.
    RuntimeMissing
        Jinja2 or Matplotlib is not installed.
    """
    text = candidates_page(found)
    try:
        with staged(path) as stage:
            stage.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write the report {path.name}: {error.strerror}", "choose another --report") from None


def candidates_page(found: CandidatesFile) -> str:
    """One HTML file that needs nothing from anywhere."""
    jinja2 = extras.jinja2()
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page: str = environment.get_template("candidates.html.j2").render(
        title=Path(found.source).name,
        version=graphprune.__version__,
        style=jinja2.utils.markupsafe.Markup(STYLE),
        charts=[jinja2.utils.markupsafe.Markup(svg) for svg in _charts(found)],
        candidates=list(enumerate(found.candidates, 1)),
        command=found.command,
    )
    return page


def _charts(found: CandidatesFile) -> Iterator[str]:
    """Loss against time, MACs and size, so far as these are known."""
    judged = [(str(n), each) for n, each in enumerate(found.candidates, 1) if each.lost is not None]
    if not judged:
        return
    kind = next((each.evaluation.kind for _, each in judged if each.evaluation is not None), "")
    shares: dict[str, list[float | None]] = {
        "time left, %": [each.time_ratio for _, each in judged],
        "MACs left, %": [(each.macs or 0) / max(1, found.macs) for _, each in judged],
        "size left, %": [(each.bytes or 0) / max(1, found.bytes) for _, each in judged],
    }
    for what, left in shares.items():
        points = [
            (Point(share, 100 * (each.lost or 0.0), name), each.is_front)
            for (name, each), share in zip(judged, left, strict=True)
            if share is not None
        ]
        if points:
            front = [point for point, is_front in points if is_front]
            beaten = [point for point, is_front in points if not is_front]
            yield pareto_svg(beaten, front, what, _LOST.get(kind, "lost, %"))
