"""The workers of a Ray cluster, through the joblib backend that Ray brings."""

from __future__ import annotations

import importlib
import os
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import joblib

from graphprune.base import extras
from graphprune.errors import OptionError, RuntimeMissing
from graphprune.workers.base import Answer, Lost, Workers, answer
from graphprune.workers.facts import Facts

_ANSWER_SECONDS = 10


class RayCluster(Workers):
    """One actor on each free core of the cluster, at most ``limit`` of them."""

    are_remote: ClassVar[bool] = True

    def __init__(self, address: str | None, limit: int | None) -> None:
        super().__init__()
        self._ray = extras.ray()
        self._is_ours = not self._ray.is_initialized()
        if self._is_ours:
            self._connect(address or os.environ.get("RAY_ADDRESS"))
        importlib.import_module("ray.util.joblib").register_ray()
        cores = max(1, int(self._ray.available_resources().get("CPU", 1)))
        self._count = cores if limit is None else min(limit, cores)

    def _connect(self, address: str | None) -> None:
        if not address:
            raise OptionError(
                "no Ray cluster is named",
                "add --cluster HOST:6379 (auto: the one on this machine), or set RAY_ADDRESS",
            )
        handler = signal.getsignal(signal.SIGTERM)
        try:
            _knock(address)
            self._ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, OSError, RuntimeError, ValueError, self._ray.exceptions.RayError) as error:
            raise RuntimeMissing(
                f"no Ray cluster answers at {address} ({type(error).__name__})",
                "start one (ray start --head), or correct --cluster",
            ) from None
        finally:
            if signal.getsignal(signal.SIGTERM) is not handler:
                signal.signal(signal.SIGTERM, handler)  # Ray's own would end the process before it clears up

    @property
    def count(self) -> int:
        return self._count

    def _begin(self, shared: Any) -> None:
        with joblib.parallel_config("ray", ray_remote_args={"num_cpus": 1}):
            self._parallel = joblib.Parallel(n_jobs=self._count, batch_size=1, pre_dispatch="all").__enter__()
        self._there = self._ray.put(shared)

    def _send(self, calls: Sequence[tuple[Callable[..., Any], Any]]) -> list[Answer]:
        try:
            answers: list[Answer] = self._parallel(
                joblib.delayed(_fetch_and_answer)(self._facts, work, self._there, item) for work, item in calls
            )
        except self._ray.exceptions.RayError as error:
            raise Lost(f"the Ray cluster lost a task ({type(error).__name__})") from None
        return answers

    def close(self) -> None:
        super().close()
        if self._is_ours:
            self._ray.shutdown()


def _knock(address: str) -> None:
    """Ray itself would try for minutes. ``auto`` and the like are no addresses.

    Raises
    ------
    OSError
        Nobody is there.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_SECONDS).close()


def _fetch_and_answer(caller: Facts, work: Callable[[Any, Any], Any], reference: Any, item: Any) -> Answer:
    """As :func:`answer`, with what a reference refers to; all actors of a machine read the same copy."""
    return answer(caller, work, extras.ray().get(reference), item)
