"""The page of a run made again from its result file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any

import msgspec

from graphprune.base.graded import Grade, Graded
from graphprune.errors import InputError, ModelError
from graphprune.measure.runtime import Measurement
from graphprune.model_folder.layout import model_file
from graphprune.report.evidence.html_report import HtmlReport
from graphprune.report.result import Result
from graphprune.report.result_file import ResultFile
from graphprune.rewrite.apply import execute
from graphprune.rewrite.linear_map import as_given
from graphprune.run.loaded import prepare
from graphprune.run.options import RunOptions, given_options

_SCHEMA = "graphprune.result/1"


def report_again(
    file: Path, output: Path, model: Path | None = None, data: Any = None, *, options: RunOptions | None = None
) -> None:
    """Write the HTML page of the run that wrote ``file`` into ``output``.

    The page shows the network, so the model must be there: at the path in the file, or ``model``. Nothing is measured
    again: parts have their share of the MACs; how alike blocks are takes ``data``.

    Raises
    ------
    InputError
        The file is no result, or the page cannot be written.
    ModelError
        The model is not there, or is another one.
    """
    found = read_result(file)
    source = model or Path(found.source)
    if not source.exists():
        raise ModelError(f"the report shows the network, and {source} is not there", "give --model")
    options = replace(given_options(options), report=output)
    html = HtmlReport(options, "apply", source=source, plan=file, data=data)
    loaded = prepare(model_file(source), data, options)
    if loaded.model.sha256 != found.plan.model_sha256:
        raise ModelError(f"{source} is not the model that {file.name} was made of", "give that one by --model")
    small = loaded.analysis
    for decision in found.plan.decisions:
        small = execute(small, decision, [], loaded.feeds, options.runtime, as_given)
    with html.written() as write:
        write(found, loaded, small, again=True)


def _grades(file: ResultFile) -> Iterable[Grade]:
    """The grades of the notes; files of before there were any have notes that were all shown alike."""
    return file.note_grades or repeat("caution")


def read_result(path: Path) -> Result:
    """The result that is in a file written by ``--json``.

    Raises
    ------
    InputError
        There is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", "check the path") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not JSON ({error})", "give a file written by --json") from None
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != _SCHEMA:
        raise InputError(f"{path} has schema {schema!r}, not {_SCHEMA!r}", "give what prune or apply wrote by --json")
    try:
        file = msgspec.convert(content, ResultFile)
    except msgspec.ValidationError as error:
        raise InputError(f"{path} is incomplete: {error}", "run it again") from None
    timed = file.measurement
    measured = None if timed is None else Measurement(timed.comparison, timed.batch, timed.environment, timed.device)
    return Result(
        source=file.source,
        output=None if file.output is None else Path(file.output),
        plan=file.plan,
        before=file.before,
        after=file.after,
        blocks_before=file.blocks_before,
        validation=file.validation,
        measurement=measured,
        generation=file.generation,
        evaluation=file.evaluation,
        repair=file.repair,
        training=tuple(file.training),
        unrepaired=file.unrepaired,
        notes=tuple(Graded(text, grade) for text, grade in zip(file.notes, _grades(file), strict=False)),
        seconds=file.seconds,
        quantised=file.quantised or None,
    )
