"""``layer-cka`` that kills the worker it runs in, in the middle of its data, once the file ``armed`` is there."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from graphprune.analysis.blocks import Block
from graphprune.importance.streaming import StreamedCKA
from graphprune.pass_infra.block_scores import BlockScoring
from graphprune.passes.layer_cka import LayerCKA, _score
from graphprune.plan.plan import Score
from graphprune.report.result import Result
from graphprune.workers import Backend
from tests.workers.scoring import pruned, written


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

    def score(self, scene: BlockScoring, candidates: Sequence[Block]) -> list[Score]:
        results = self.compared(scene, candidates, partial(DeadlyCKA, Path(os.environ["ARMED"])))
        return [_score(block.name, each) for block, each in zip(candidates, results, strict=True)]


def survived(folder: Path, monkeypatch: pytest.MonkeyPatch, backend: Backend, cluster: str) -> Result:
    """A run of which a worker dies in the second round, with half of the data seen;
    plan and model are those of the serial run.
    """
    armed = folder / "armed"
    monkeypatch.setenv("ARMED", str(armed))
    rounds = []

    def progress(task: str, done: int, total: int, /) -> None:
        if task.startswith("layer-cka"):
            rounds.append(done)
            if len(rounds) == 2:
                armed.touch()

    serial = written(lambda path: pruned(path), folder, "serial")
    out = folder / "cluster.onnx"
    result = pruned(out, backend=backend, cluster=cluster, progress=progress, each=Deadly())
    assert (result.plan.to_json(), out.read_bytes()) == serial
    assert len(rounds) == 3
    assert not armed.exists()
    assert [note for note in result.notes if "nothing is lost" in note]
    return result
