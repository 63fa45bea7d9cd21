"""Several networks on the same samples: large ones take turns in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, overload

import onnx

from graphprune.base.memory import give_back
from graphprune.ir import lean_file
from graphprune.runtime.known_answers import KnownAnswers, Remembering
from graphprune.runtime.sessions import RuntimeOptions, is_large, open_session


class Turns(Sequence[Any]):
    """Lean sessions of ``models``, whose external data lie in ``folder`` where they are no paths.

    If one of them is large, each is opened when it is asked for and closed when another one is. ``dressed`` makes of a
    place and its session what is handed out. What the first has said is in ``known``, if given: it is opened for the
    rest.
    """

    def __init__(
        self,
        models: Sequence[Path | onnx.ModelProto],
        options: RuntimeOptions,
        folder: Path | None = None,
        dressed: Callable[[int, Any], Any] = lambda _, session: session,
        known: KnownAnswers | None = None,
    ) -> None:
        self._models, self._options, self._folder = list(models), options, folder
        self._take_turns = any(map(_is_large, self._models))
        self._dressed = dressed
        self._known = known
        self._open: dict[int, Any] = {}

    def __len__(self) -> int:
        return len(self._models)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        if self._known is not None and index == 0:
            return Remembering(lambda: self._opened(0), self._known)
        return self._opened(index)

    def _opened(self, index: int) -> Any:
        if index not in self._open:
            if self._take_turns:
                self._open.clear()
                give_back()
            session = open_session(self._models[index], self._options, self._folder, is_lean=True)
            self._open[index] = self._dressed(index, session)
        return self._open[index]


def _is_large(model: Path | onnx.ModelProto) -> bool:
    return is_large(lean_file.skeleton(model) if isinstance(model, Path) else model)
