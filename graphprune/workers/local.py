"""Processes of this machine, through joblib's loky backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import joblib
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from graphprune.workers.base import Answer, Lost, Workers, answer

_MAPPED_FROM = "64K"  # arrays from this size on lie in a file that all processes map, instead of in each of them


class Processes(Workers):
    """``count`` processes, started when first needed."""

    are_remote: ClassVar[bool] = False

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count

    @property
    def count(self) -> int:
        return self._count

    def _begin(self, shared: Any) -> None:
        self._parallel = joblib.Parallel(
            n_jobs=self._count, backend="loky", batch_size=1, pre_dispatch="all", max_nbytes=_MAPPED_FROM, mmap_mode="r"
        ).__enter__()
        self._there = shared

    def _send(self, calls: Sequence[tuple[Callable[..., Any], Any]]) -> list[Answer]:
        try:
            answers: list[Answer] = self._parallel(
                joblib.delayed(answer)(self._facts, work, self._there, item) for work, item in calls
            )
        except TerminatedWorkerError:
            raise Lost("a worker process died (is memory short?)") from None
        return answers

    def _end(self) -> None:
        if self._parallel is not None:
            super()._end()
            get_reusable_executor().shutdown(wait=True)  # idle ones would keep their memory for minutes
