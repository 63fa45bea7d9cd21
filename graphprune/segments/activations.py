"""Tensors of one network over a small set of samples, computed when they are first asked for."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from graphprune.ir.input_origins import fed_to
from graphprune.ir.model import Model
from graphprune.runtime.sessions import RuntimeOptions, open_model, run
from graphprune.segments.stepwise import TensorStore, Values


class ActivationCache:
    """``feeds`` are the batches. What does not fit the memory lies in a temporary folder."""

    def __init__(self, model: Model, feeds: Sequence[Values], options: RuntimeOptions) -> None:
        self._model, self._feeds, self._options = model, feeds, options
        self._temporary = tempfile.TemporaryDirectory(prefix="graphprune-")
        self._held = TensorStore(Path(self._temporary.name))
        self._names: set[str] = {tensor.name for tensor in model.graph.inputs}
        for index, batch in enumerate(feeds):
            self._held.put(index, fed_to(model, batch))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forget all."""
        self._temporary.cleanup()

    def want(self, tensors: Collection[str]) -> None:
        """Compute all of these that are not there yet, in one run."""
        missing = sorted(set(tensors) - self._names)
        if not missing:
            return
        session = open_model(self._model, self._options, missing)
        for index, feeds in enumerate(self._feeds):
            found = dict(zip(missing, run(session, feeds, missing), strict=True))
            self._held.add(index, found)
        self._names.update(missing)

    def get(self, batch: int, tensors: Collection[str]) -> Values:
        """Values of a batch; they have been wanted before."""
        return self._held.get(batch, tensors)
