"""``graphprune init``: a network with fresh weights, written and run once."""

from __future__ import annotations

from pathlib import Path

from graphprune.ir import export, output_files
from graphprune.rewrite.initialise import initialise as fresh_weights
from graphprune.run.loaded import Source, prepare
from graphprune.run.options import RunOptions, given_options
from graphprune.validation.validate import check_same_but_for_weights

FOLDED_NOTE = (
    "the model has no norms, or they are folded into the convolutions: with fresh weights its activations grow with "
    "its depth; export it for training, with its norms"
)


def initialise(
    source: Source, seed: int, output: Path, options: RunOptions | None = None
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Write ``source`` with fresh weights to ``output``; how many constants were drawn of each kind, and notes.

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
    ops = {node.op for node in loaded.model.graph.nodes}
    is_folded = "Conv" in ops and not any("Normalization" in op for op in ops)
    return fresh.counts, (FOLDED_NOTE,) if is_folded and any(join.block for join in loaded.analysis.joins) else ()
