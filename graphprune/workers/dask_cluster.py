"""The workers of a Dask cluster, through joblib's Dask backend.
Dask itself gives the tasks of a dead worker to others.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError as FutureCancelledError
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import joblib

from graphprune.base import extras
from graphprune.errors import OptionError, RuntimeMissing
from graphprune.workers.base import Answer, Lost, Workers, answer

_ANSWER_SECONDS = 10
_WORKER_SECONDS = 30
_FAILURES = (CancelledError, FutureCancelledError, TimeoutError, OSError, RuntimeError)  # workers or scheduler are gone


class DaskCluster(Workers):
    """All threads of the workers of one scheduler, at most ``limit`` of them at once."""

    are_remote: ClassVar[bool] = True

    def __init__(self, address: str | None, limit: int | None) -> None:
        super().__init__()
        self._distributed = extras.distributed()
        self._limit = limit
        self._threads = 1
        self._client = self._connected(address)

    def _connected(self, address: str | None) -> Any:
        import dask

        address = address or dask.config.get("scheduler-address", None)
        if not address:
            raise OptionError(
                "no Dask cluster is named",
                "add --cluster tcp://HOST:8786 (or the scheduler file), or set DASK_SCHEDULER_ADDRESS",
            )
        where = {"scheduler_file": address} if Path(address).suffix == ".json" else {"address": address}
        try:
            client = self._distributed.Client(**where, timeout=_ANSWER_SECONDS, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise RuntimeMissing(
                f"no Dask scheduler answers at {address} ({type(error).__name__})",
                "start one (dask scheduler), or correct --cluster",
            ) from None
        try:
            client.wait_for_workers(1, timeout=_WORKER_SECONDS)
        except TimeoutError:
            client.close()
            raise RuntimeMissing(
                f"the Dask cluster at {address} has no workers", f"start some: dask worker {address}"
            ) from None
        return client

    @property
    def count(self) -> int:
        if self._client.status == "running":
            with suppress(*_FAILURES):  # the next task will tell; until then what was known last
                self._threads = max(1, sum(self._client.nthreads().values()))
        return self._threads if self._limit is None else min(self._limit, self._threads)

    def _begin(self, shared: Any) -> None:
        """On every worker there is. Dask thins the copies out between calls; if the last one dies, it is sent again."""
        with self._losses_told():
            self._client.wait_for_workers(1, timeout=_WORKER_SECONDS)
            with joblib.parallel_config("dask", client=self._client, scatter=[shared]):
                self._parallel = joblib.Parallel(n_jobs=-1, batch_size=1, pre_dispatch="all").__enter__()
        self._there = shared

    def _send(self, calls: Sequence[tuple[Callable[..., Any], Any]]) -> list[Answer]:
        with self._losses_told():
            before = set(self._client.nthreads())
            answers: list[Answer] = self._parallel(
                joblib.delayed(answer)(self._facts, work, self._there, item) for work, item in calls
            )
            gone = len(before - set(self._client.nthreads()))
        if gone:
            self.notes[f"{gone} of {len(before)} Dask workers left; nothing is lost: others took over their work"] = (
                None
            )
        return answers

    @contextmanager
    def _losses_told(self) -> Iterator[None]:
        if self._client.status != "running":
            raise Lost("the Dask scheduler is gone")
        try:
            yield
        except (*_FAILURES, self._distributed.KilledWorker) as error:
            raise Lost(f"the Dask cluster lost a task ({type(error).__name__})") from None

    def close(self) -> None:
        super().close()
        self._client.close()
