"""The proof of a growth: without what was added, the network computes what it did before.

What was added is taken out again by the rewrite that removes blocks, which is proved elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from graphprune.analysis.model_analysis import analyse
from graphprune.data.dataset import Data
from graphprune.errors import ValidationFailed
from graphprune.ir.loading import load
from graphprune.ir.model import Model
from graphprune.rewrite import remove_blocks
from graphprune.runtime.sessions import RuntimeOptions, open_model, open_session, run
from graphprune.validation.validate import check_same_but_for_weights
from graphprune.validation.yardstick import Yardstick


def check_grown(
    original: Model,
    written: Path,
    added: Collection[str],
    data: Data,
    batch: int,
    options: RuntimeOptions,
    *,
    same: bool,
) -> float:
    """The largest difference between ``original`` and the file without the blocks of the joins ``added``, relative to
    the largest output; with ``same``, of the file as it is, too.

    Raises
    ------
    ValidationFailed
        The file is not valid or does not run, what was added is no removable block, or the difference is too large.
    """
    feeds = data.first(1)
    check_same_but_for_weights(written, original, feeds, options)
    grown = analyse(load(written), feeds, options)
    blocks = [join.block for join in grown.joins if join.node in added and join.block]
    if len(blocks) != len(added):
        raise ValidationFailed("a block that was added is none that could be removed again", "please report this")
    yardstick = Yardstick(original, data, batch, options)
    names = [tensor.name for tensor in original.graph.outputs]
    before = open_model(original, options)
    after = [
        open_model(remove_blocks(grown.model, blocks), options),
        *([open_session(written, options)] if same else []),
    ]
    worst = 0.0
    for part in data.batches(batch):
        expected = run(before, part.feeds, names)
        for session in after:
            for name, reference, found in zip(names, expected, run(session, part.feeds, names), strict=True):
                error = yardstick.error(name, reference, found)
                if not error <= yardstick.limit(name) or not np.isfinite(error):
                    raise ValidationFailed(
                        f"the grown network differs by {error:.1e} in '{name}' from what it was made of; nothing was "
                        "written",
                        "please report this model",
                    )
                worst = max(worst, error)
    return worst
