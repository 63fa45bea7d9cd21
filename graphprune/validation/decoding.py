"""A decoder held against its masked original over the steps that follow the first, each with the cache it gave itself.

With an empty cache it does not matter which layer reads which past: only later steps tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from graphprune.data.dataset import Data
from graphprune.decoder.interface import DecoderInterface, decoder_interface
from graphprune.decoder.steps import Arrays, next_step, shortened
from graphprune.errors import ModelError, ValidationFailed
from graphprune.ir.export import to_proto
from graphprune.ir.input_origins import fed_to
from graphprune.ir.model import Model
from graphprune.rewrite.removal import Removal
from graphprune.runtime.sessions import Feeds, RuntimeOptions, open_session, run
from graphprune.validation.masked_original import masked_original
from graphprune.validation.yardstick import Yardstick

_STEPS = 2
_WAYS: tuple[dict[str, bool], ...] = ({"is_optimised": False}, {"is_rounded": True})
"""In which the masked original computes the same otherwise."""
_MOST_SAMPLES = 4  # the same nodes run for each


@dataclass(frozen=True)
class DecodingCheck:
    """``result`` beside what ``step`` should have made of its model, one token after the other."""

    step: Removal
    result: Path | Model
    options: RuntimeOptions
    yardstick: Yardstick

    def run(self, data: Data, batch: int) -> float:
        """Largest relative error of an output, in the steps that follow the first; 0 where there can be none.

        The tokens are those that the first samples begin with, the same for both. The first step takes so many fewer
        than a sample has that all steps together are no longer: a sample may be as long as the model takes.

        Raises
        ------
        ValidationFailed
            An output differs by more than its limit, or a layer with a cache has gone from a model that takes no
            further step.
        """
        decoder, theirs = decoder_interface(self.step.model), self.step.decoder
        if decoder is None or theirs is None:
            return 0.0
        feeds = shortened(decoder, data.first(min(batch, _MOST_SAMPLES)), _STEPS)
        try:
            expected = self._expected(decoder, feeds)
        except ModelError as error:
            if decoder.cache == theirs.cache:
                return 0.0
            raise ValidationFailed(
                f"the model takes no second step with the cache of its first ({error.message}), so what has become of "
                "the cache cannot be checked; nothing was written",
                "exclude the blocks of attention",
            ) from None
        found = _outputs(self._rewritten(), theirs, feeds, fed_to(self.step.model, feeds))
        return max(
            self._error(decoder, feeds, number, *pair) for number, pair in enumerate(zip(expected, found, strict=True))
        )

    def _expected(
        self, decoder: DecoderInterface, feeds: Feeds, *, is_optimised: bool = True, is_rounded: bool = False
    ) -> list[Arrays]:
        model = self.step.model
        oracle = self.yardstick.open(
            lambda: masked_original(self.step, is_rounded=is_rounded), model.folder, is_optimised=is_optimised
        )
        return _outputs(oracle, decoder, feeds, fed_to(model, feeds))

    def _error(self, decoder: DecoderInterface, feeds: Feeds, number: int, expected: Arrays, found: Arrays) -> float:
        """The largest error of a step."""
        worst, yardstick = 0.0, self.yardstick
        for name, new in self.step.outputs.items():
            error = yardstick.error(name, self.step.left_of(name, expected[name]), found[new])
            limit = yardstick.limit(name)
            if not error <= limit:
                others = (self._expected(decoder, feeds, **how)[number][name] for how in _WAYS)
                limit = yardstick.raised(limit, max(yardstick.error(name, other, expected[name]) for other in others))
            if not error <= limit:
                raise ValidationFailed(
                    f"{number + 1} tokens after the first step, output '{new}' of the rewritten model differs from the "
                    f"masked original by {error:.2g} (tolerance {limit:g}); nothing was written",
                    "please report this model; exclude the blocks of attention to go on",
                )
            worst = max(worst, error)
        return worst

    def _rewritten(self) -> Any:
        result = self.result
        if isinstance(result, Path):
            return open_session(result, self.options, is_lean=True)
        return self.yardstick.open(lambda: to_proto(result), result.folder)


def _outputs(session: Any, decoder: DecoderInterface, feeds: Feeds, own: Feeds) -> list[Arrays]:
    """All outputs of each step after the first, which takes ``feeds``; in the model's own names these are ``own``."""
    names = [value.name for value in session.get_outputs()]
    gave = dict(zip(names, run(session, feeds), strict=True))
    ids, steps, fed = np.asarray(own[decoder.ids]), [], dict(own)
    for number in range(_STEPS):
        fed = next_step(decoder, fed, gave, ids[:, number % ids.shape[1]][:, None])
        gave = dict(zip(names, run(session, fed), strict=True))
        steps.append(gave)
    return steps
