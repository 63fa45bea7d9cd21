"""``graphprune MODEL --candidates N``: several results in one run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click


def several(
    model: Path,
    passes: Sequence[str],
    target: str | None,
    count: int | None,
    output: str | None,
    json_path: Path | None,
    settings: dict[str, Any],
    evaluation: str | None,
    quiet: bool,
    max_drop: str | None,
    plan_out: Path | None,
) -> None:
    """Make them, and show them side by side.

    Raises
    ------
    UsageError
        An option that is for one result is given, too.
    """
    from graphprune.cli.show import Shown, check_outputs, run_options
    from graphprune.pipeline.candidates import candidates

    for option, value in (
        ("--max-drop", max_drop),
        ("--plan-out", plan_out),
        ("--dump-passes", settings["dump_folder"]),
    ):
        if value is not None:
            raise click.UsageError(f"{option} is for one result, not for several candidates")
    check_outputs({"--json": json_path, "--report": settings["report"]}, model, settings["data"], evaluation)
    named = output or str(_default(model))
    with Shown(json_path, quiet) as shown:
        options = run_options(settings, evaluation, shown)
        found, _ = candidates(model, passes, settings["data"], target, named, count=count, options=options)
    shown.candidates(found, settings["report"])


def _default(model: Path) -> Path:
    """What the results are named after where nothing is said."""
    from graphprune.model_folder import layout, writing

    if layout.is_folder(model):
        return writing.named_output(None, model, "pruned")
    return model.with_name(f"{model.stem}.pruned.onnx")
