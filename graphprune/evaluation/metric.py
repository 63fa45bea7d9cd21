"""A metric of the user's own: a function that sees what a network says of all samples, and returns one number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import isfinite
from typing import Any

from graphprune.data.batching import Arrays
from graphprune.data.dataset import Data
from graphprune.data.sources import one_line, user_function
from graphprune.errors import GraphpruneError, OptionError
from graphprune.runtime.sessions import run

Batches = Iterator[tuple[Arrays, Arrays]]
"""(outputs by name, inputs by name and ``labels`` where there are any), batch by batch."""

MetricFunction = Callable[[Batches], float]


def load_metric(source: str | MetricFunction) -> tuple[str, MetricFunction]:
    """Name and function of ``script.py:function``, or of a function.

    Raises
    ------
    OptionError
        It is neither, or the script does not define it.
    """
    if callable(source):
        return getattr(source, "__name__", "metric"), source
    script, _, name = str(source).rpartition(":")
    if not script.endswith(".py") or not name:
        raise OptionError(f"'{source}' is no metric", "write --metric script.py:function")
    return name, user_function(script, name, "metric script")


def said(session: Any, names: list[str], data: Data, batch: int) -> Batches:
    """What a network of these outputs says of all samples."""
    for part in data.batches(batch):
        yield dict(zip(names, run(session, part.feeds, names), strict=True)), part.arrays()


def measured(name: str, metric: MetricFunction, batches: Batches) -> float:
    """What ``metric`` makes of the batches.

    Raises
    ------
    OptionError
        It fails, or returns no finite number.
    """
    try:
        value: Any = metric(batches)
    except GraphpruneError:  # of the data or the model, not of the function
        raise
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything
        raise OptionError(f"the metric {name} failed: {one_line(error)}", "fix it") from None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise OptionError(f"the metric {name} returned a {type(value).__name__}", "return one number") from None
    if not isfinite(number):
        raise OptionError(f"the metric {name} returned {number}", "return a finite number")
    return number
