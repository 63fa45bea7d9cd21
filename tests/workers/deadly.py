"""``layer-cka`` that kills the worker it runs in, in the middle of its data, once the file ``armed`` is there."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from graphprune.block_pass import Scene
from graphprune.importance.streaming import StreamedCKA
from graphprune.passes.layer_cka import LayerCKA, _score
from graphprune.plan import Score
from graphprune.structure.blocks import Block


class DeadlyCKA(StreamedCKA):
    """Who first takes ``armed`` away after 40 rows dies."""

    def __init__(self, armed: Path) -> None:
        super().__init__()
        self._armed = armed

    def reference(self, *features: Any) -> None:
        if self.rows == 40 and _taken(self._armed):
            os.kill(os.getpid(), signal.SIGKILL)
        super().reference(*features)


def _taken(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


@dataclass(frozen=True)
class Deadly(LayerCKA):
    """As ``layer-cka``, and prints like it."""

    def score(self, scene: Scene, candidates: Sequence[Block]) -> list[Score]:
        results = self.compared(scene, candidates, partial(DeadlyCKA, Path(os.environ["ARMED"])))
        return [_score(block.name, each) for block, each in zip(candidates, results, strict=True)]
