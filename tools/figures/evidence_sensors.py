"""Activities from sensors under the four protocols, fold by fold: ``sensors.py``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from evidence_size import Row, Size, Task
from sensors import PROTOCOLS, windows
from sensors import rows as fold_rows

PLAN = {
    "small": (
        ("UTD-MHAD2_1s", "cnn", ("SNOW", "LOSO"), 30, 5, 8),
        ("UTD-MHAD2_1s", "cnn", ("FNOW", "LOTO"), 30, 5, 4),
        ("UTD-MHAD1_1s", "cnn", PROTOCOLS, 30, 5, 4),
        ("WHARF", "cnn", PROTOCOLS, 30, 5, 4),
        ("UTD-MHAD2_1s", "transformer", ("SNOW", "LOSO"), 30, 5, 4),
    ),
    "paper": tuple(
        (name, network, PROTOCOLS, 200, 50, None)
        for name in ("UTD-MHAD1_1s", "UTD-MHAD2_1s", "WHARF")
        for network in ("cnn", "transformer")
    ),
}
"""Data, network, protocols, epochs, epochs after each pruning, and of how many folds at most (None: all), by size."""


def tasks(size: Size) -> Iterator[Task]:
    for name, network, protocols, epochs, after, most in PLAN[size.name]:
        about = {"data": name, "network": network, "epochs": epochs, "after": after}
        for protocol in protocols:
            count = len(windows(name, protocol)[2])
            for fold in range(min(count, most or count)):
                yield {**about, "protocol": protocol, "fold": fold}


def rows(task: Task, size: Size, work: Path) -> list[Row]:
    """The dense network and those without 30, 60 and 80 % of its MACs."""
    numbers = [task["fold"]]
    return list(fold_rows(task["data"], task["protocol"], task["network"], numbers, task["epochs"], task["after"]))
