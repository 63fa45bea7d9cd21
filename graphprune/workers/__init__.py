"""Work done elsewhere: in processes of this machine, or on a Dask or Ray cluster that is already there.

All of it goes through joblib. The work must be a function of its arguments alone,
so that it does not matter who does it, how often it is tried, or which other items it is sent along with:
the results are those of a plain loop.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from graphprune.errors import OptionError
from graphprune.workers.base import Workers

Backend = Literal["dask", "ray"]

__all__ = ["Backend", "Workers", "hired"]


@contextmanager
def hired(jobs: int | None, backend: Backend | None = None, cluster: str | None = None) -> Iterator[Workers | None]:
    """The workers asked for, let go at the end; None where this process is to do everything itself.

    ``jobs`` is how many items are worked on at once, -1 = as many as there are cores; None = one on this machine,
    all that a cluster can take. ``cluster`` is the address of the ``backend``'s scheduler;
    without it its environment variable counts.

    Raises
    ------
    OptionError
        An impossible number, or a cluster that nothing names.
    RuntimeMissing
        The backend's package is not installed, or its cluster does not answer or has no workers.
    """
    if jobs is not None and jobs < 1 and jobs != -1:
        raise OptionError(f"{jobs} is no number of jobs", "give 1 or more, or -1 for all cores")
    if backend is None:
        if cluster is not None:
            raise OptionError(f"cluster '{cluster}' without a backend", "add --backend dask or --backend ray")
        count = len(os.sched_getaffinity(0)) if jobs == -1 else jobs or 1
        if count == 1:
            yield None
            return
        from graphprune.workers.local import Processes as Kind

        workers: Workers = Kind(count)
    else:
        limit = None if jobs in (None, -1) else jobs
        if backend == "dask":
            from graphprune.workers.dask_cluster import DaskCluster

            workers = DaskCluster(cluster, limit)
        elif backend == "ray":
            from graphprune.workers.ray_cluster import RayCluster

            workers = RayCluster(cluster, limit)
        else:
            raise OptionError(f"there is no backend '{backend}'", "choose dask or ray")
    try:
        yield workers
    finally:
        workers.close()
