"""``graphprune init``: a network with fresh weights, written and run once."""

from __future__ import annotations

from pathlib import Path

from graphprune.ir import export, output_files
from graphprune.rewrite.initialise import initialise as fresh_weights
from graphprune.run.loaded import Source, prepare
from graphprune.run.options import RunOptions, given_options
from graphprune.validation.validate import check_same_but_for_weights


def initialise(source: Source, seed: int, output: Path, options: RunOptions | None = None) -> dict[str, int]:
    """Write ``source`` with fresh weights to ``output``; how many constants were drawn of each kind.

    Raises
    ------
    ModelError
        The model cannot be read, or how its weights start is not known.
    InputError
        The output cannot be written.
    ValidationFailed
        The written file is not the same network but for its weights, or does not run.
    """
    options = given_options(options)
    loaded = prepare(source, None, options)
    output_files.check_output(output, output_files.source_files(source))
    output_files.spare_weights(output, loaded.model)
    fresh = fresh_weights(loaded.model, seed)
    with output_files.staged(output) as path:
        export.write(fresh.model, path)
        check_same_but_for_weights(path, loaded.model, loaded.feeds, options.runtime)
    return fresh.counts
